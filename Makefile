# Two commands do everything on a fresh machine: `make study` and `make test`.
PYTHON ?= python3
TRIALS ?= 5
ARGS ?=
BIN := .venv/bin

.PHONY: study test faults lint setup lock bench clean

study: setup
	$(BIN)/python -m objective.study --trials $(TRIALS) $(ARGS)

test: setup
	$(BIN)/python -m pytest --numprocesses auto --maxprocesses 4 --dist worksteal $(ARGS)

faults: setup
	$(BIN)/python -m tests.faults $(ARGS)

lint: setup
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy

bench: setup
	$(BIN)/python -m benchmarks.study

setup: .venv/ready

# The marker is newer than what it was made from only if every step went well.
.venv/ready: pyproject.toml constraints.txt
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' || \
		{ echo "need Python 3.11 or newer, $(PYTHON) is $$($(PYTHON) --version): write make PYTHON=python3.12"; exit 2; }
	$(PYTHON) -m venv .venv
	$(BIN)/python -m pip install --quiet --disable-pip-version-check --constraint constraints.txt --editable '.[dev]'
	touch $@

# Writes constraints.txt anew: the newest versions that fit pyproject.toml, from a fresh environment. Local parts of versions
# (+cpu) and NVIDIA's libraries, which a GPU build of torch brings, are left out, so that one file serves machines with and without a GPU.
lock:
	rm -rf build/lock && $(PYTHON) -m venv build/lock
	build/lock/bin/python -m pip install --quiet --disable-pip-version-check '.[dev]'
	build/lock/bin/python -m pip freeze --exclude tacotune --exclude-editable | sed 's/+[a-z0-9.]*$$//' \
		| grep -vE '^(nvidia|cuda)|^tacotune| @ ' > constraints.txt
	rm -rf build/lock

clean:
	rm -rf .venv build *.egg-info .pytest_cache .mypy_cache .ruff_cache
