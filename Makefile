# Two commands do everything on a fresh machine: `make study` and `make test`. `make help` lists all of them.
# Each creates .venv first. Any flag can be added: make study ARGS="--data my/voice", make test ARGS="-k storage".
PYTHON ?= python3
TRIALS ?= 5
WORKERS ?= 2
ARGS ?=
BIN := .venv/bin
PYTEST := $(BIN)/python -m pytest --numprocesses auto --maxprocesses 4 --dist loadfile --no-loadscope-reorder

.PHONY: help study test test-all faults lint setup lock bench clean

study: setup ## search with 5 trials on the built-in corpus (or TRIALS=50 WORKERS=1)
	$(BIN)/python -m objective.study --trials $(TRIALS) --workers $(WORKERS) $(ARGS)

test: setup ## everything but what is slow by nature (5 minutes on two cores)
	$(PYTEST) -m "not slow" $(ARGS)

test-all: setup ## all tests, with browser, Ray and fault injection (12 minutes; only the slow ones: ARGS="-m slow")
	$(PYTEST) $(ARGS)

faults: setup ## kill a study forty times and check that nothing is lost (15 minutes)
	$(BIN)/python -m tests.faults $(ARGS)

lint: setup ## ruff and mypy (1 minute)
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy

bench: setup ## measure frames per second and what a study itself costs
	$(BIN)/python -m benchmarks.study

setup: .venv/ready ## create .venv with the pinned dependencies

# The marker is newer than what it was made from only if every step went well.
.venv/ready: pyproject.toml constraints.txt
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' || \
		{ echo "need Python 3.11 or newer, $(PYTHON) is $$($(PYTHON) --version): write make PYTHON=python3.12"; exit 2; }
	$(PYTHON) -m venv .venv
	$(BIN)/python -m pip install --quiet --disable-pip-version-check --constraint constraints.txt --editable '.[dev]'
	touch $@

# Write constraints.txt anew: the newest versions that fit pyproject.toml, from a fresh environment. Local parts of versions
# (+cpu) and NVIDIA's libraries, which a GPU build of torch brings, are left out, so that one file serves machines with and without a GPU.
lock: ## write constraints.txt anew from the newest versions
	rm -rf build/lock && $(PYTHON) -m venv build/lock
	build/lock/bin/python -m pip install --quiet --disable-pip-version-check '.[dev]'
	build/lock/bin/python -m pip freeze --exclude tacotune --exclude-editable | sed 's/+[a-z0-9.]*$$//' \
		| grep -vE '^(nvidia|cuda)|^tacotune| @ ' > constraints.txt
	rm -rf build/lock

clean: ## remove .venv and all caches
	rm -rf .venv build *.egg-info .pytest_cache .mypy_cache .ruff_cache

help: ## show this list
	@awk -F ':.*## ' '/^[a-z-]+:.*## / {printf "make %-9s %s\n", $$1, $$2}' $(MAKEFILE_LIST)
