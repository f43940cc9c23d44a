"""Files under deploy/ and commands in docs/scaling.md parse, fit each other and the flags, and hold no secret."""

import json
import re
import shlex
import subprocess
import sys
from collections.abc import Iterator
from configparser import ConfigParser
from functools import cache
from pathlib import Path
from typing import Any

import pytest
import yaml

from objective.workers.supervision import RELEASE_S

ROOT = Path(__file__).parent.parent
DEPLOY = ROOT / "deploy"
FILES = [*sorted(file for file in DEPLOY.iterdir() if file.is_file()), ROOT / "docs" / "scaling.md"]
MODULE = re.compile(r"-m (?P<module>(?:objective|storage)\.[\w.]+)(?P<rest>.*)")
SECRET = re.compile(r"(?i)password|token|secret")


def manifests() -> list[dict[str, Any]]:
    return list(yaml.safe_load_all((DEPLOY / "kubernetes.yaml").read_text()))


def of_kind(kind: str) -> dict[str, Any]:
    (found,) = (manifest for manifest in manifests() if manifest["kind"] == kind)
    return found


def pods() -> Iterator[dict[str, Any]]:
    for manifest in manifests():
        if "template" in manifest["spec"]:
            yield manifest["spec"]["template"]["spec"]


def containers() -> Iterator[dict[str, Any]]:
    for pod in pods():
        yield from pod.get("initContainers", [])
        yield from pod["containers"]


def commands(file: Path) -> list[tuple[str, list[str]]]:
    """Return the modules that a file starts, with the flags that it gives them."""
    if file.suffix == ".yaml":
        lines = [shlex.join([*it.get("command", ()), *it.get("args", ())]) for it in containers()]
    else:
        lines = file.read_text().replace("\\\n", " ").splitlines()
    found = [match for line in lines for match in MODULE.finditer(line)]
    return [(match["module"], re.findall(r"(?<=\s)--[\w-]+", match["rest"])) for match in found]


@cache
def help_of(module: str) -> str:
    done = subprocess.run([sys.executable, "-m", module, "--help"], cwd=ROOT, capture_output=True, text=True, check=True)
    return done.stdout


@pytest.mark.parametrize("file", FILES, ids=lambda file: file.name)
def test_every_module_and_every_flag_exists(file: Path) -> None:
    found = commands(file)
    assert found or file.name == "Dockerfile"
    for module, flags in found:
        existing = set(re.findall(r"--[\w-]+", help_of(module)))
        assert set(flags) <= existing, module


@pytest.mark.parametrize("file", FILES, ids=lambda file: file.name)
def test_they_hold_no_password(file: Path) -> None:
    assert not re.search(r"://[^\s/@:]*:[^\s/@]+@", file.read_text())
    assert not re.search(r"(?i)(PGPASSWORD|POSTGRES_PASSWORD|TOKEN)=\S", file.read_text())


def test_the_batch_script_is_bash_and_ends_before_its_time() -> None:
    script = DEPLOY / "slurm-array.sbatch"
    subprocess.run(["bash", "-n", script], check=True)
    text = script.read_text()
    assert text.startswith("#!/usr/bin/env bash\n")
    hours, minutes, seconds = map(int, re.search(r"#SBATCH --time=(\d+):(\d+):(\d+)", text).groups())  # type: ignore[union-attr]
    given = int(re.search(r"--timeout (\d+)", text)[1])  # type: ignore[index]
    assert given == (hours * 60 + minutes) * 60 + seconds - 600


def test_each_manifest_names_itself() -> None:
    names = [(manifest["kind"], manifest["metadata"]["name"]) for manifest in manifests()]
    assert all(manifest["apiVersion"] for manifest in manifests())
    assert len(set(names)) == len(names)
    assert "Secret" not in {kind for kind, _ in names}


def test_the_manifests_fit_each_other() -> None:
    claims = {manifest["metadata"]["name"] for manifest in manifests() if manifest["kind"] == "PersistentVolumeClaim"}
    for pod in pods():
        volumes = {volume["name"] for volume in pod.get("volumes", [])}
        claimed = [volume["persistentVolumeClaim"]["claimName"] for volume in pod.get("volumes", [])]
        assert set(claimed) <= claims
        templates = of_kind("StatefulSet")["spec"]["volumeClaimTemplates"]
        volumes |= {template["metadata"]["name"] for template in templates}
        mounted = {mount["name"] for container in pod["containers"] for mount in container.get("volumeMounts", [])}
        assert mounted <= volumes
    service, database = of_kind("Service"), of_kind("StatefulSet")["spec"]
    labels = database["template"]["metadata"]["labels"]
    assert service["spec"]["selector"] == labels == database["selector"]["matchLabels"]
    (worker,) = of_kind("Job")["spec"]["template"]["spec"]["containers"]
    assert f"@{service['metadata']['name']}/" in " ".join(worker["args"])


def test_secrets_come_from_a_secret() -> None:
    named = [variable for it in containers() for variable in it.get("env", []) if SECRET.search(variable["name"])]
    assert len(named) == 2
    for variable in named:
        assert variable.keys() == {"name", "valueFrom"}
        assert variable["valueFrom"]["secretKeyRef"]["name"] == "tacotune-postgres"


def test_workers_are_given_the_time_to_release_their_trials() -> None:
    assert of_kind("Job")["spec"]["template"]["spec"]["terminationGracePeriodSeconds"] > RELEASE_S
    unit = ConfigParser(strict=False, interpolation=None)
    unit.optionxform = str  # type: ignore[method-assign,assignment]
    unit.read(DEPLOY / "tacotune.service")
    assert unit.sections() == ["Unit", "Service", "Install"]
    assert float(unit["Service"]["TimeoutStopSec"]) > RELEASE_S
    assert unit["Service"]["KillMode"] == "mixed"


def test_the_image_holds_every_package_and_starts_the_study() -> None:
    lines = (DEPLOY / "Dockerfile").read_text().splitlines()
    copied = [word for line in lines if line.startswith("COPY ") for word in line.split()[1:-1]]
    assert all((ROOT / name).exists() for name in copied)
    packages = {file.parent.name for file in ROOT.glob("*/__init__.py")} - {"benchmarks"}
    assert packages <= set(copied)
    (start,) = (json.loads(line.removeprefix("ENTRYPOINT")) for line in lines if line.startswith("ENTRYPOINT"))
    assert start == ["python", "-m", "objective.study"]
