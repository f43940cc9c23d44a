"""The first hour with a GPU, tried on a CPU: which stages there are, and what the studies among them prove."""

import json
import os
import re
import signal
import subprocess
import sys
import tomllib
from importlib import import_module
from pathlib import Path
from typing import Any
from zipfile import ZipFile

import pytest

from benchmarks import gpu, gpu_study, stages
from benchmarks.gpu_study import PACKAGES, Study
from tests.processes import until

ROOT = Path(__file__).parent.parent.parent
CPU: dict[str, Any] = {"device": "cpu", "machine": "a CPU", "versions": {"torch": "2.8", "triton": "3.7"}}
GPU = CPU | {"device": "cuda", "machine": "a card", "capability": [9, 0], "kernels": True, "memory_gb": 150.0}


def records(folder: Path) -> dict[str, dict[str, Any]]:
    return {path.stem: json.loads(path.read_text()) for path in folder.glob("*.json")}


def planned(monkeypatch: pytest.MonkeyPatch, folder: Path, about: dict[str, Any], *arguments: str) -> dict[str, stages.Stage]:
    """Return the stages that the command would run on a machine, by their names."""
    found: list[stages.Stage] = []
    described = subprocess.CompletedProcess([], 0, json.dumps(about))
    monkeypatch.setattr(gpu.subprocess, "run", lambda *_, **__: described)
    monkeypatch.setattr(gpu, "run_all", lambda chosen, *_: found.extend(chosen) or 0)
    assert gpu.main(["--out", str(folder), "--device", about["device"], *arguments]) == 0
    return {stage.name: stage for stage in found}


def test_on_a_cpu_each_stage_is_small_or_says_what_it_needs(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    plan = planned(monkeypatch, tmp_path, CPU)
    assert tuple(plan) == gpu.NAMES
    assert {name for name, stage in plan.items() if stage.obstacle == "needs a GPU"} == {
        "machine", "sanitizer", "memory", "no-compiler",
    }  # fmt: skip
    for stage in plan.values():
        assert stage.limit_s <= 480
        assert stage.obstacle or all("cuda" not in command for command in stage.commands)


def test_on_a_gpu_stages_run_where_their_tools_and_memory_are(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(gpu.shutil, "which", lambda name: f"/usr/bin/{name}")
    monkeypatch.setattr(gpu, "missing", lambda: [])
    plan = planned(monkeypatch, tmp_path, GPU, "--peer", "nvidia=DIR")
    assert not [stage for stage in plan.values() if stage.obstacle]
    assert ["memcheck" in command for command in plan["sanitizer"].commands] == [True, False]
    assert "nvidia=DIR" in plan["deferred"].commands[0]
    assert "nvidia=DIR" not in plan["speed-64"].commands[0]
    monkeypatch.setattr(gpu.shutil, "which", lambda name: None)
    monkeypatch.setattr(gpu, "missing", lambda: ["optuna>=5.0,<6", "rich"])
    plan = planned(monkeypatch, tmp_path, GPU | {"kernels": False, "memory_gb": 16.0})
    assert {name: stage.obstacle for name, stage in plan.items() if stage.obstacle} == {
        "sanitizer": "not installed",
        "speed-256": "needs 60 GB of GPU memory",
        "study": "needs optuna>=5.0,<6, rich",
        "two-trials": "needs optuna>=5.0,<6, rich",
        "no-compiler": "the kernels are not used here",
    }


def test_nothing_runs_on_a_device_that_is_not_there(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(gpu.subprocess, "run", lambda *_, **__: subprocess.CompletedProcess([], 2, ""))
    assert gpu.main(["--out", str(tmp_path)]) == 2
    assert not list(tmp_path.iterdir())


def test_only_the_stages_that_are_asked_for_run(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    assert tuple(planned(monkeypatch, tmp_path, CPU, "--only", "study", "--only", "kernels")) == ("kernels", "study")


@pytest.mark.parametrize("about", [CPU, GPU], ids=["CPU", "GPU"])
def test_every_command_of_a_stage_is_accepted_by_its_program(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, about: dict[str, Any]
) -> None:
    monkeypatch.setattr(gpu.shutil, "which", lambda name: name)
    for stage in planned(monkeypatch, tmp_path, about, "--peer", "torchaudio").values():
        for command in stage.commands:
            place = command.index("-m")
            monkeypatch.setattr(sys, "argv", [*command[place + 1 :], "--json", "result.json", "--help"])
            with pytest.raises(SystemExit) as ended:  # the help follows where everything before it was accepted
                import_module(command[place + 1]).main()
            assert ended.value.code == 0, command


def test_a_run_that_is_terminated_ends_its_stage(tmp_path: Path) -> None:
    """The stage notes its number, terminates the run, and waits for ever."""
    stage = f"import os, signal; open({str(tmp_path / 'pid')!r}, 'w').write(str(os.getpid())); "
    stage += "os.kill(os.getppid(), signal.SIGTERM); signal.pause()"
    code = (
        "import json, subprocess, sys; from benchmarks import gpu; from benchmarks.stages import Stage; "
        f"gpu.subprocess.run = lambda *_, **__: subprocess.CompletedProcess([], 0, json.dumps({CPU!r})); "
        f"gpu.stages = lambda *_: [Stage('study', 60, [[sys.executable, '-c', {stage!r}]])]; "
        f"sys.exit(gpu.main(['--out', {str(tmp_path)!r}, '--device', 'cpu']))"
    )
    done = subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True)
    assert done.returncode == 128 + signal.SIGTERM, done.stderr
    assert stages.read(tmp_path, "study") is None
    until(lambda: not Path("/proc", (tmp_path / "pid").read_text()).exists())


@pytest.mark.slow
def test_a_killed_study_is_continued_and_two_trials_run_side_by_side(tmp_path: Path) -> None:
    names = ["--only", "study", "--only", "two-trials", "--only", "machine"]
    line = [sys.executable, "-m", "benchmarks.gpu", "--out", str(tmp_path), "--device", "cpu", *names]
    done = subprocess.run(line, cwd=ROOT, capture_output=True, text=True)
    assert done.returncode == 0, done.stdout + done.stderr
    found = records(tmp_path)
    assert found["machine"]["obstacle"] == "needs a GPU"
    killed, both = (found[name]["results"][0] for name in ("study", "two-trials"))
    assert [check["holds"] for check in killed["checks"]] == [True] * 3
    assert 0 < killed["checks"][2]["figure"] < 12, "it resumes inside of its budget"
    assert [len(result["figures"]) for result in (killed, both)] == [3, 2]
    assert re.search(r"\| study \| well \| .*3 of 3 checks hold; trial 0: complete", done.stdout)


def test_the_packages_of_a_study_are_those_of_the_project() -> None:
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]["dependencies"]
    assert set(PACKAGES.values()) <= {line.partition(";")[0] for line in project}


def ended(number: int, **changes: Any) -> dict[str, Any]:
    last = {"kframes": 400.0, "seconds": 10.0}
    return {"event": "TrialEnded", "number": number, "state": "COMPLETE", "value": 0.1, "seconds": 12.0, "last": last} | changes


@pytest.mark.parametrize(
    ("note", "compiled", "holds"),
    [
        (
            "the recurrence runs without kernels on this card, which is slower: there is no C compiler",
            False,
            [True, True, True],
        ),
        ("kernels checked on this card", True, [False, False, True]),
    ],
)
def test_a_study_without_a_compiler_must_say_so_and_compile_nothing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, note: str, compiled: bool, holds: list[bool]
) -> None:
    def run(self: Study, **changes: str) -> None:
        assert gpu_study.shutil.which("gcc", path=changes["PATH"]) is None
        if compiled:
            (Path(changes["TRITON_CACHE_DIR"]) / "kernel.cubin").touch()
        events = [{"event": "StudyStarted", "notes": ["a corpus", note]}, ended(0), {"event": "StudyEnded", "finished": 1}]
        self.folder.mkdir()
        (self.folder / "events.jsonl").write_text("".join(json.dumps(event) + "\n" for event in events))

    monkeypatch.setattr(Study, "run", run)
    checks, figures = gpu_study.no_compiler(tmp_path, "cuda")
    assert [check.holds for check in checks] == holds
    assert figures == ["trial 0: complete 0.1, 12 s, 40,000 frames/s"]


def wheel(folder: Path, package: str, module: str) -> None:
    """Write a wheel of an empty module."""
    name = re.split(r"[>=<]", package)[0].replace("-", "_")
    version = (re.findall(r">=([\d.]+)", package) or ["1"])[0]
    with ZipFile(folder / f"{name}-{version}-py3-none-any.whl", "w") as file:
        file.writestr(f"{module.replace('.', '/')}/__init__.py", "")
        about = f"{name}-{version}.dist-info"
        file.writestr(f"{about}/METADATA", f"Metadata-Version: 2.1\nName: {name}\nVersion: {version}\n")
        file.writestr(f"{about}/WHEEL", "Wheel-Version: 1.0\nGenerator: test\nRoot-Is-Purelib: true\nTag: py3-none-any\n")
        file.writestr(f"{about}/RECORD", "")


@pytest.mark.slow
def test_the_script_installs_from_wheels_what_the_machine_lacks_and_uses_what_it_has(tmp_path: Path) -> None:
    """The machine is an environment with jiwer alone, for which there is no wheel; the wheels lie in two folders."""
    subprocess.run([sys.executable, "-m", "venv", "--without-pip", str(tmp_path / "machine")], check=True)
    (packages,) = (tmp_path / "machine" / "lib").glob("python*/site-packages")
    wheel(tmp_path, PACKAGES["jiwer"], "jiwer")
    (carried,) = tmp_path.glob("*.whl")
    ZipFile(carried).extractall(packages)
    folders = [tmp_path / "some", tmp_path / "others"]
    for place, (module, package) in enumerate(item for item in PACKAGES.items() if item[0] != "jiwer"):
        folders[place % 2].mkdir(exist_ok=True)
        wheel(folders[place % 2], package, module)
    variables = {"PYTHON": str(tmp_path / "machine/bin/python"), "VENV": str(tmp_path / "venv"), "PATH": os.environ["PATH"]}
    script = [str(ROOT / "benchmarks/gpu.sh"), "--out", "results", "--table"]
    wheels = ":".join(map(str, folders))
    done = subprocess.run(script, cwd=tmp_path, env=variables | {"WHEELS": wheels}, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    assert "| stage | result |" in done.stdout
    line = [str(tmp_path / "venv/bin/python"), "-c", "from benchmarks.gpu_study import missing; print(missing())"]
    assert subprocess.run(line, cwd=ROOT, capture_output=True, text=True).stdout == "[]\n"
