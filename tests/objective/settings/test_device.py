"""Which device a study trains on: every GPU that is there and cannot be used is named, with the way out."""

import os
from pathlib import Path
from types import SimpleNamespace

import pytest
import torch

from objective.settings.device import Found, device_of, has_kernels, mistakes, obstacle, probe
from objective.settings.resolve import resolve
from objective.settings.schema import SettingsError
from objective.trial.context import TrainingData
from search_spaces.space import load

CUDA = Found("2.13.0", "CUDA 13.0", kernels=("sm_75", "sm_80", "sm_86", "sm_90", "sm_100", "compute_120"))
NVIDIA = {"nvidia": True, "failure": "No CUDA GPUs are available"}
RTX = ("NVIDIA GeForce RTX 3060", "sm_86")
V100 = ("Tesla V100-SXM2-16GB", "sm_70")
TOO_OLD = (
    "The NVIDIA driver on your system is too old (found version 11040). Please update your GPU driver by downloading and "
    "installing a new version from the URL: http://www.nvidia.com/Download/index.aspx Alternatively, go to: https://pytorch.org"
)


def cuda(**facts: object) -> Found:
    return Found("2.13.0", "CUDA 13.0", kernels=CUDA.kernels, **facts)  # type: ignore[arg-type]


def cpu(**facts: object) -> Found:
    return Found("2.13.0+cpu", failure="Torch not compiled with CUDA enabled", **facts)  # type: ignore[arg-type]


def rocm(**facts: object) -> Found:
    return Found("2.13.0", "ROCm 7.1", kernels=("gfx90a", "gfx942", "gfx1100"), **facts)  # type: ignore[arg-type]


OBSTACLES = {
    "a driver too old for the wheel": (
        cuda(nvidia=True, failure=TOO_OLD),
        ["supports CUDA 11.4", "built for CUDA 13.0", "install a newer driver (https://www.nvidia.com/drivers)"],
    ),
    "the same, although devices are named": (cuda(nvidia=True, failure=TOO_OLD, visible="0"), ["supports CUDA 11.4"]),
    "the same beside an AMD GPU on a chip": (cuda(nvidia=True, amd=True, failure=TOO_OLD), ["supports CUDA 11.4"]),
    "a wheel for the CPU": (
        cpu(nvidia=True),
        ["there is an NVIDIA GPU", "torch 2.13.0+cpu is built for the CPU alone: install torch with CUDA (https://pytorch.org"],
    ),
    "a wheel for the CPU on a Jetson": (cpu(jetson=True), ["there is an NVIDIA GPU", "install PyTorch for Jetson"]),
    "a wheel for the CPU with an AMD GPU": (cpu(amd=True), ["there is an AMD GPU", "install torch with ROCm"]),
    "a wheel for CUDA with an AMD GPU": (
        cuda(amd=True, failure="Found no NVIDIA driver on your system."),
        ["there is an AMD GPU", "torch 2.13.0 is built for CUDA 13.0: install torch with ROCm"],
    ),
    "a wheel for ROCm with an NVIDIA GPU": (rocm(nvidia=True, failure="No HIP GPUs are available"), ["torch with CUDA"]),
    "an AMD GPU that ROCm does not find": (
        rocm(amd=True, failure="No HIP GPUs are available"),
        ["torch finds no AMD GPU (No HIP GPUs are available)", "the groups video and render"],
    ),
    "an AMD GPU beside one of NVIDIA": (rocm(amd=True, nvidia=True, failure="No HIP GPUs are available"), ["no AMD GPU"]),
    "hidden by an empty list": (cuda(**NVIDIA, visible=""), ["CUDA_VISIBLE_DEVICES= leaves no GPU: unset it"]),
    "hidden by -1": (cuda(**NVIDIA, visible="-1"), ["CUDA_VISIBLE_DEVICES=-1 leaves no GPU", "nvidia-smi -L"]),
    "hidden by a wrong number": (cuda(**NVIDIA, visible="7"), ["CUDA_VISIBLE_DEVICES=7 leaves no GPU"]),
    "hidden on AMD": (
        rocm(amd=True, failure="No HIP GPUs are available", variable="HIP_VISIBLE_DEVICES", visible="-1"),
        ["HIP_VISIBLE_DEVICES=-1 leaves no GPU", "rocm-smi"],
    ),
    "no driver": (
        cuda(nvidia=True, failure="Found no NVIDIA driver on your system. Please check that", visible="0"),
        ["torch finds no NVIDIA driver: install it", "docker run --gpus all"],
    ),
    "anything else, in torch's own words": (
        cuda(nvidia=True, failure="Unexpected error from cudaGetDeviceCount(). Did you\nError 802: system not yet initialized"),
        ["torch finds no NVIDIA GPU (Unexpected error from cudaGetDeviceCount()): see whether nvidia-smi -L finds one"],
    ),
    "a card that is too old for the wheel": (
        cuda(nvidia=True, cards=(V100,)),
        ["Tesla V100-SXM2-16GB is sm_70", "has kernels for sm_75, sm_80, sm_86", "install torch for an older CUDA (https://"],
    ),
    "a card that is too new for the wheel": (
        Found("2.8.0", "CUDA 12.6", cards=(("B200", "sm_100"),), kernels=("sm_80", "sm_90")),
        ["B200 is sm_100", "install a torch that has kernels for it"],
    ),
    "an AMD GPU on a chip that the wheel leaves out": (rocm(amd=True, cards=(("Radeon", "gfx1036"),)), ["Radeon is gfx1036"]),
}


@pytest.mark.parametrize("case", OBSTACLES)
def test_a_gpu_that_cannot_be_used_is_named_with_the_way_out(case: str) -> None:
    """With auto the study says so and takes the CPU; with cuda it does not start."""
    found, parts = OBSTACLES[case]
    why = obstacle(found)
    assert why is not None
    assert [part for part in parts if part not in why] == []
    assert "\n" not in why
    assert mistakes("auto", found) == []
    assert mistakes("cuda", found) == [f"device cuda: {why}"]


@pytest.mark.parametrize("found", [cpu(), cpu(visible="0"), cuda(failure="Found no NVIDIA driver on your system."), rocm()])
def test_a_machine_without_a_gpu_is_no_reason_for_a_sentence(found: Found) -> None:
    assert obstacle(found) is None
    assert mistakes("auto", found) == []
    assert mistakes("cuda", found) == ["device cuda: need a CUDA device, torch finds none: choose --device cpu or auto"]


@pytest.mark.parametrize(
    "found",
    [
        cuda(cards=(RTX,)),
        cuda(cards=(RTX, RTX), visible="0, 1"),
        cuda(cards=(RTX,), visible="GPU-8932f937-d72c-4106-c12f-20bd9faed9f6"),
        cuda(cards=(RTX,), visible="MIG-a,MIG-b"),  # CUDA shows a process only one instance
        rocm(cards=(("MI300X", "gfx942"),), amd=True),
        Found("2.13.0", "CUDA 13.0", cards=(RTX,)),  # torch lists no kernels
    ],
)
def test_a_gpu_that_can_be_used_is_used(found: Found) -> None:
    assert found.usable
    assert obstacle(found) is None
    assert mistakes("auto", found) == mistakes("cuda", found) == []


@pytest.mark.parametrize("device", ["auto", "cuda"])
@pytest.mark.parametrize(
    ("cards", "visible", "missing"),
    [
        (1, "0,7", "there is no 7, and 7 would"),
        (1, "0,-1", "no -1"),
        (2, "0,1,8,9", "8, 9 would"),
        (1, "GPU-a,GPU-b", "no GPU-b"),
    ],
)
def test_devices_that_do_not_exist_are_refused(device: str, cards: int, visible: str, missing: str) -> None:
    (mistake,) = mistakes(device, cuda(cards=(RTX,) * cards, visible=visible))
    assert mistake.startswith(f"CUDA_VISIBLE_DEVICES={visible}: ")
    assert missing in mistake


@pytest.mark.parametrize(("visible", "chosen"), [(None, "0,2"), ("5,6,7", "5,7")])
def test_a_card_without_kernels_beside_good_ones_is_to_be_left_out(visible: str | None, chosen: str) -> None:
    (mistake,) = mistakes("auto", cuda(cards=(RTX, V100, RTX), visible=visible))
    assert mistake.startswith("Tesla V100")
    assert mistake.endswith(f"or set CUDA_VISIBLE_DEVICES={chosen}")


@pytest.mark.parametrize(
    ("card", "kernels", "runs"),
    [
        ("sm_86", ["sm_80"], True),
        ("sm_80", ["sm_86"], False),
        ("sm_90", ["sm_80"], False),
        ("sm_90", ["sm_90a"], True),
        ("sm_120", ["sm_100", "compute_90"], True),
        ("sm_75", ["compute_80"], False),
        ("sm_87", ["sm_80", "sm_86"], False),  # Jetson Orin
        ("sm_87", ["sm_87"], True),
        ("sm_89", ["sm_87"], False),
        ("gfx90a", ["gfx90a:xnack-"], True),
        ("gfx1036", ["gfx1030"], False),
    ],
)
def test_kernels_run_on_their_own_major_version_from_their_minor_version_on(card: str, kernels: list[str], runs: bool) -> None:
    assert has_kernels(card, kernels) == runs


@pytest.mark.skipif(torch.cuda.is_available(), reason="there is a GPU")
def test_an_nvidia_gpu_is_noticed_without_torch(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """It decides what is said, and never the device."""
    before = probe()
    assert (before.cards, before.usable) == ((), [])
    assert before.failure
    program = tmp_path / "nvidia-smi"
    program.touch(mode=0o755)
    monkeypatch.setenv("PATH", f"{tmp_path}{os.pathsep}{os.environ['PATH']}")
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "3, 4")
    found = probe()
    assert found.nvidia
    assert found.names == ["3", "4"]
    assert device_of("auto") == torch.device("cpu")


def emulated(monkeypatch: pytest.MonkeyPatch, *cards: SimpleNamespace) -> None:
    """Let torch find these cards; there is no other way to have them here."""
    monkeypatch.setattr(torch.cuda, "is_available", lambda: bool(cards))
    monkeypatch.setattr(torch.cuda, "device_count", lambda: len(cards))
    monkeypatch.setattr(torch.cuda, "get_device_properties", lambda index: cards[index])


def test_rocm_is_found_through_torch(monkeypatch: pytest.MonkeyPatch) -> None:
    emulated(monkeypatch, SimpleNamespace(name="MI300X", gcnArchName="gfx942:sramecc+:xnack-", major=9, minor=4))
    monkeypatch.setattr(torch.version, "hip", "7.1.0")
    monkeypatch.setattr(torch.cuda, "get_arch_list", lambda: ["gfx90a", "gfx942"])
    monkeypatch.setenv("HIP_VISIBLE_DEVICES", "2")
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "0,1")
    found = probe()
    assert (found.cards, found.built_for) == ((("MI300X", "gfx942"),), "ROCm 7.1.0")
    assert (found.variable, found.names) == ("HIP_VISIBLE_DEVICES", ["2"])
    assert device_of("auto") == device_of("cuda") == torch.device("cuda")


def test_a_card_without_kernels_is_not_trained_on(monkeypatch: pytest.MonkeyPatch) -> None:
    emulated(monkeypatch, SimpleNamespace(name="Tesla V100", major=7, minor=0))
    monkeypatch.setattr(torch.version, "cuda", "13.0")
    monkeypatch.setattr(torch.cuda, "get_arch_list", lambda: ["sm_75", "sm_80"])
    assert device_of("auto") == torch.device("cpu")
    with pytest.raises(SettingsError, match="Tesla V100 is sm_70"):
        device_of("cuda")


def test_torchrun_gets_no_process_without_a_gpu_of_its_own(monkeypatch: pytest.MonkeyPatch) -> None:
    emulated(monkeypatch, SimpleNamespace(name="RTX 3060", major=8, minor=6))
    monkeypatch.setenv("LOCAL_RANK", "1")
    settings = resolve(None, [], {}, gpu=False)
    with pytest.raises(SettingsError, match="got process 2 with 1 GPUs: start it with --nproc-per-node 1"):
        TrainingData.of(settings, load(settings.study.space, settings.config()))


@pytest.mark.filterwarnings("error")
def test_torchs_reason_is_taken_and_its_warnings_are_not_shown(monkeypatch: pytest.MonkeyPatch) -> None:
    def init() -> None:
        raise RuntimeError(TOO_OLD)

    emulated(monkeypatch)
    monkeypatch.setattr(torch.cuda, "init", init)
    assert probe().failure == TOO_OLD
