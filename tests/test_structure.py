"""The structure: imports point down the floors, and what should load quickly loads without the heavy libraries."""

import ast
import re
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from objective.settings.views import VIEWS

ROOT = Path(__file__).parent.parent
# A folder imports from the floors below its own, never from another folder of its floor. The commands stand on top: each is a
# parser that names its program by a string, so that `--help` loads nothing heavy.
FLOORS = [
    {"model"},
    {"search_spaces", "storage"},
    {"pruners"},
    {"objective/settings", "objective/events", "objective/runtime"},
    {"objective/trial", "objective/display"},
    {"objective/search", "objective/speech", "objective/segmenting", "objective/views", "objective/checking"},
    {"objective/workers", "objective/dashboard", "objective/telegram", "objective"},
]
FOLDERS = [folder for floor in FLOORS for folder in sorted(floor)]  # in one order, for xdist
LIGHT = {
    "model.config": {"torch", "optuna", "librosa", "pydantic", "numpy"},
    "model.report": {"torch", "optuna", "librosa", "pydantic", "numpy"},
    "model.tacotron2": {"optuna", "librosa", "soundfile", "pydantic"},
    "model.trainer": {"optuna", "librosa", "soundfile", "pydantic"},
    "pruners.rules": {"torch", "optuna"},
    "search_spaces.space": {"torch", "optuna"},
    "objective.trial.score": {"torch", "optuna"},
    "objective.events.types": {"torch", "optuna"},
    "objective.settings.schema": {"torch", "optuna", "librosa"},
    "objective.display.live_console": {"torch", "optuna", "matplotlib"},
    "objective.events.log_writer": {"torch", "optuna", "matplotlib"},
    "objective.study": {"torch", "optuna", "pydantic", "numpy", "rich"},
    "objective.events.log_reader": {"torch", "optuna", "pydantic", "numpy", "rich"},
    "objective.checking.statistics": {"torch", "optuna", "librosa", "pydantic"},
    "objective.speech.find": {"mlflow", "aiohttp"},
    "objective.views.mlflow_runs": {"torch"},
    "objective.views.tensorboard_events": {"torch", "optuna", "sqlalchemy"},
    "objective.views.table_export": {"torch", "pandas"},
}
HEAVY = {
    "torch",
    "optuna",
    "librosa",
    "sqlalchemy",
    "mlflow",
    "tensorboard",
    "aiohttp",
    "matplotlib",
    "rich",
    "numpy",
    "pydantic",
}
COMMANDS = (
    "study",
    "check",
    "train",
    "speak",
    "serve",
    "registry",
    "quality",
    "compare",
    "segment",
    *VIEWS,
    "export",
    "steer",
    "cleanup",
    "proxy",
    "record",
)


def home(module: str) -> str | None:
    """The folder of FLOORS that a dotted module name lies in; None for a library's."""
    path = module.replace(".", "/")
    return max((folder for folder in FOLDERS if f"{path}/".startswith(f"{folder}/")), key=len, default=None)


def imported_folders(file: Path) -> set[str]:
    folders = set()
    for node in ast.walk(ast.parse(file.read_text(encoding="utf-8"))):
        names = []
        if isinstance(node, ast.Import):
            names = [alias.name for alias in node.names]
        elif isinstance(node, ast.ImportFrom) and node.module and not node.level:
            names = [f"{node.module}.{alias.name}" for alias in node.names]
        folders |= {folder for name in names if (folder := home(name)) is not None}
    return folders


@pytest.mark.parametrize("folder", FOLDERS)
def test_imports_point_down(folder: str) -> None:
    inner = [other for other in FOLDERS if other.startswith(f"{folder}/")]
    files = [file for file in (ROOT / folder).rglob("*.py") if not any(file.is_relative_to(ROOT / other) for other in inner)]
    assert files
    floor = next(number for number, folders in enumerate(FLOORS) if folder in folders)
    below = {other for folders in FLOORS[:floor] for other in folders}
    for file in files:
        assert imported_folders(file) <= below | {folder}, file.relative_to(ROOT)


def test_every_module_has_a_floor() -> None:
    """Within `objective/` a file is a command, and every folder has its floor."""
    folders = {f"objective/{path.name}" for path in (ROOT / "objective").iterdir() if (path / "__init__.py").exists()}
    assert folders == {folder for folder in FOLDERS if folder.startswith("objective/")}


@pytest.mark.parametrize("module", LIGHT)
def test_it_loads_without(module: str) -> None:
    code = f"import sys, {module}; print(*set({sorted(LIGHT[module])}) & sys.modules.keys())"
    done = subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, check=True)
    assert done.stdout.split() == []


@pytest.mark.parametrize("command", COMMANDS)
def test_help_loads_nothing_heavy(command: str) -> None:
    """So it answers at once."""
    line = [sys.executable, "-X", "importtime", "-m", "objective", command, "--help"]
    done = subprocess.run(line, cwd=ROOT, capture_output=True, text=True, check=True)
    loaded = {line.rpartition("|")[2].strip().partition(".")[0] for line in done.stderr.splitlines()}
    assert "argparse" in loaded
    assert not loaded & HEAVY


def test_optunas_private_parts_have_one_owner() -> None:
    """A new Optuna breaks storage/optuna_private*.py, and nothing else."""
    private = re.compile(r"optuna[a-z_.]*\._[a-z]|\._storage\b|\._trial_id\b|\._study_id\b")
    files = [file for folder in FLOORS for name in folder for file in (ROOT / name).rglob("*.py")]
    users = {file.name for file in files if private.search(file.read_text(encoding="utf-8"))}
    assert users == {"optuna_private.py", "optuna_private_grpc.py"}


OURS = [
    file
    for room in ("model", "search_spaces", "pruners", "storage", "objective", "benchmarks")
    for file in (ROOT / room).rglob("*.py")
]
RIDDLES = r"(Of|Where|Who|Whoever|What|Whatever|By|So|Whether)\b"  # words that open a riddle, not a description


def test_files_and_functions_are_short() -> None:
    """At most 300 lines in a file, tests included, and 60 in a function."""
    files = [*OURS, *(ROOT / "tests").rglob("*.py")]
    assert not [file for file in files if len(file.read_text(encoding="utf-8").splitlines()) > 300]
    functions = [node for file in files for node in nodes(file, ast.FunctionDef, ast.AsyncFunctionDef)]
    assert not [node.name for node in functions if (node.end_lineno or 0) - node.lineno >= 60]


def test_docstrings_say_what_the_thing_does() -> None:
    documented = (ast.Module, ast.ClassDef, ast.FunctionDef, ast.AsyncFunctionDef)
    texts = [ast.get_docstring(node) or "" for file in OURS for node in nodes(file, *documented)]
    assert not [text for text in texts if re.match(RIDDLES, text)]


def test_exceptions_are_caught_by_name() -> None:
    """A broad except that does not raise again hides bugs. Those that are needed have their reason beside them."""
    broad = [
        file.name
        for file in OURS
        for handler in nodes(file, ast.ExceptHandler)
        if handler.type is None or re.search(r"\b(Base)?Exception\b", ast.unparse(handler.type))
        if not any(isinstance(node, ast.Raise) for node in ast.walk(handler))
    ]
    assert sorted(broad) == ["checks.py", "fanout.py", "ray_cluster.py"]


def nodes(file: Path, *kinds: type) -> list[Any]:
    return [node for node in ast.walk(ast.parse(file.read_text(encoding="utf-8"))) if isinstance(node, kinds)]
