"""The house: imports point one way, and what should load quickly loads without the heavy libraries."""

import ast
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent
LAYERS = {
    "model": set(),
    "search_spaces": {"model"},
    "pruners": {"model"},
    "storage": {"model"},
    "objective": {"model", "search_spaces", "pruners", "storage"},
}
LIGHT = {
    "model.config": {"torch", "optuna", "librosa", "pydantic", "numpy"},
    "model.report": {"torch", "optuna", "librosa", "pydantic", "numpy"},
    "model.tacotron2": {"optuna", "librosa", "soundfile", "pydantic"},
    "model.trainer": {"optuna", "librosa", "soundfile", "pydantic"},
    "pruners.rules": {"torch", "optuna"},
    "search_spaces.space": {"torch", "optuna"},
    "objective.score": {"torch", "optuna"},
    "objective.events": {"torch", "optuna"},
    "objective.settings": {"torch", "optuna", "librosa"},
    "objective.sinks.console": {"torch", "optuna", "matplotlib"},
    "objective.sinks.jsonl": {"torch", "optuna", "matplotlib"},
    "objective.study": {"torch", "optuna", "pydantic", "numpy", "rich"},
    "objective.journal": {"torch", "optuna", "pydantic", "numpy", "rich"},
    "objective.mlflow": {"torch", "optuna", "mlflow"},
    "objective.tensorboard": {"torch", "optuna", "tensorboard"},
    "objective.export": {"torch", "optuna", "pandas", "pyarrow"},
    "objective.dashboard": {"torch", "optuna", "optuna_dashboard"},
}
HEAVY = {"torch", "optuna", "librosa", "sqlalchemy", "mlflow", "tensorboard", "aiohttp", "matplotlib", "rich"}
VIEWS = ["dashboard", "mlflow", "tensorboard", "telegram", "export"]
HELP = {command: HEAVY | {"numpy", "pydantic"} for command in ("objective.study", "storage.prune")}
HELP |= {f"objective.{view}": HEAVY for view in VIEWS}


def imported_roots(file: Path) -> set[str]:
    roots = set()
    for node in ast.walk(ast.parse(file.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Import):
            roots |= {alias.name.partition(".")[0] for alias in node.names}
        elif isinstance(node, ast.ImportFrom) and node.module and not node.level:
            roots.add(node.module.partition(".")[0])
    return roots


@pytest.mark.parametrize("layer", LAYERS)
def test_imports_point_one_way(layer: str) -> None:
    files = list((ROOT / layer).rglob("*.py"))
    assert files
    used = {root for file in files for root in imported_roots(file)}
    assert used & LAYERS.keys() <= LAYERS[layer] | {layer}


@pytest.mark.parametrize("module", LIGHT)
def test_it_loads_without(module: str) -> None:
    code = f"import sys, {module}; print(*set({sorted(LIGHT[module])}) & sys.modules.keys())"
    done = subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, check=True)
    assert done.stdout.split() == []


@pytest.mark.parametrize("command", HELP)
def test_help_loads_nothing_heavy(command: str) -> None:
    """So it answers at once."""
    line = [sys.executable, "-X", "importtime", "-m", command, "--help"]
    done = subprocess.run(line, cwd=ROOT, capture_output=True, text=True, check=True)
    loaded = {line.rpartition("|")[2].strip().partition(".")[0] for line in done.stderr.splitlines()}
    assert "argparse" in loaded
    assert not loaded & HELP[command]
