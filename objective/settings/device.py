"""Choose the torch device of the settings, and say why a GPU that is there cannot be used. Imports torch."""

import os
import re
import shutil
import warnings
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import torch

from objective.settings.schema import SettingsError

GET_STARTED, PREVIOUS = "https://pytorch.org/get-started", "https://pytorch.org/get-started/previous-versions"
DRIVERS = "https://www.nvidia.com/drivers"
JETSON = "https://docs.nvidia.com/deeplearning/frameworks/install-pytorch-jetson-platform"
CPU_ALONE = "the CPU alone"
TEGRA = (53, 62, 72, 87)  # NVIDIA's GPUs on a chip: they run code of exactly their own architecture


@dataclass(frozen=True, slots=True)
class Found:
    """The facts that decide whether torch can train on a GPU of this machine."""

    torch: str  # its version
    built_for: str = CPU_ALONE  # or "CUDA 13.0", "ROCm 7.1"
    cards: tuple[tuple[str, str], ...] = ()  # of each device that torch finds: name, and architecture as sm_86 or gfx1100
    kernels: tuple[str, ...] = ()  # architectures that torch has kernels for: sm_75, compute_120, gfx942
    failure: str = ""  # why torch finds no device
    nvidia: bool = False  # there is a card or a driver of NVIDIA, whether torch finds it or not
    jetson: bool = False
    amd: bool = False
    variable: str = "CUDA_VISIBLE_DEVICES"  # which selects devices
    visible: str | None = None  # its value

    @property
    def names(self) -> list[str]:
        """The devices that `variable` names."""
        return [name.strip() for name in (self.visible or "").split(",") if name.strip()]

    @property
    def usable(self) -> list[int]:
        """The indices of the devices that torch has kernels for."""
        return [index for index, (_, card) in enumerate(self.cards) if has_kernels(card, self.kernels)]


def device_of(name: str) -> torch.device:
    """Return the device `name`: auto, cpu or cuda. Raises SettingsError for GPUs that were asked for and cannot be used."""
    if name == "cpu":
        return torch.device("cpu")
    found = probe()
    if wrong := mistakes(name, found):
        raise SettingsError(wrong)
    return torch.device("cuda" if found.usable else "cpu")


def mistakes(name: str, found: Found) -> list[str]:
    """Return what a person has to change before the device `name`, auto or cuda, can be used: a sentence each."""
    if not found.usable:
        why = obstacle(found) or "need a CUDA device, torch finds none: choose --device cpu or auto"
        return [f"device cuda: {why}"] if name == "cuda" else []
    wrong, names, count = [], found.names, len(found.cards)
    # CUDA ignores the first name that does not exist and all after it. Of several MIG instances it shows a process only one.
    if count < len(names) and not names[0].startswith("MIG-"):
        rule = f"{found.variable}={found.visible}: need GPUs of this machine, there is no {names[count]}"
        wrong.append(f"{rule}, and {', '.join(names[count:])} would not be used: leave out what does not exist")
    if len(found.usable) < count:
        labels = names if len(names) >= count else [str(index) for index in range(count)]
        wrong.append(f"{_no_kernels(found)}, or set {found.variable}={','.join(labels[index] for index in found.usable)}")
    return wrong


def obstacle(found: Found) -> str | None:
    """Return why torch cannot train on the GPU that is there, and the way out. None where it can, or there is no GPU."""
    if found.cards:
        return None if found.usable else _no_kernels(found)
    amd = found.amd and (found.built_for.startswith("ROCm") or not (found.nvidia or found.jetson))
    if not (amd or found.nvidia or found.jetson):
        return None
    maker, platform, lists = ("AMD", "ROCm", "rocm-smi") if amd else ("NVIDIA", "CUDA", "nvidia-smi -L")
    if not found.built_for.startswith(platform):
        way = f"install torch with {platform}{', if that supports the GPU' if amd else ''} ({GET_STARTED})"
        way = f"install PyTorch for Jetson ({JETSON})" if found.jetson and not amd else way
        return f"there is an {maker} GPU, and torch {found.torch} is built for {found.built_for}: {way}"
    if old := re.search(r"too old \(found version (\d+)\)", found.failure):
        major, rest = divmod(int(old[1]), 1_000)  # 11040 is CUDA 11.4
        rule = f"the NVIDIA driver supports CUDA {major}.{rest // 10}, and torch {found.torch} is built for {found.built_for}"
        return f"{rule}: install a newer driver ({DRIVERS}), or torch for an older CUDA ({PREVIOUS})"
    if "no NVIDIA driver" in found.failure and not amd:
        return f"torch finds no NVIDIA driver: install it ({DRIVERS}), or give the container its GPUs (docker run --gpus all)"
    if found.visible is not None and re.search("GPUs are available|invalid device ordinal", found.failure):
        return f"{found.variable}={found.visible} leaves no GPU: unset it, or name devices that {lists} lists"
    failure = found.failure.partition("\n")[0].partition(". ")[0]
    allowed = ", and join the groups video and render" if amd else ""
    return f"torch finds no {maker} GPU ({failure}): see whether {lists} finds one{allowed}"


def has_kernels(card: str, kernels: Sequence[str]) -> bool:
    """Return whether a card of the architecture `card` can run one of the `kernels`; True where torch does not list any.

    sm_80 runs on 8.0 and later of the same major version, except on Tegra; compute_80 is compiled for any later card.
    """
    if not kernels:
        return True
    if card.startswith("gfx"):
        return card in [kernel.partition(":")[0] for kernel in kernels]
    number = int(card.removeprefix("sm_"))
    built = [(kind, int(code)) for kind, code in re.findall(r"(sm|compute)_(\d+)", " ".join(kernels))]
    return any(
        code == number
        if kind == "sm" and {code, number} & set(TEGRA)
        else code <= number and (kind == "compute" or code // 10 == number // 10)
        for kind, code in built
    )


def _no_kernels(found: Found) -> str:
    name, card = next(card for card in found.cards if not has_kernels(card[1], found.kernels))
    rule = f"{name} is {card}, and torch {found.torch} for {found.built_for} has kernels for {', '.join(found.kernels)} only"
    older = card.startswith("sm_") and int(card[3:]) < min(int(code) for code in re.findall(r"_(\d+)", " ".join(found.kernels)))
    return f"{rule}: install {'torch for an older CUDA' if older else 'a torch that has kernels for it'} ({PREVIOUS})"


def variable() -> str:
    """Return the environment variable that selects GPUs: HIP prefers its own, where it is set."""
    return "HIP_VISIBLE_DEVICES" if torch.version.hip and "HIP_VISIBLE_DEVICES" in os.environ else "CUDA_VISIBLE_DEVICES"


def probe() -> Found:
    """Ask torch and the machine. Torch's CUDA is initialised, without a context, which would take memory of a card."""
    cards: tuple[tuple[str, str], ...] = ()
    failure, hip, cuda = "", torch.version.hip, torch.version.cuda
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # torch says in a page of warnings what `obstacle` says in a sentence
        try:
            if torch.cuda.is_available():
                cards = tuple(_card(index) for index in range(torch.cuda.device_count()))
            else:
                torch.cuda.init()  # type: ignore[no-untyped-call]  # raises what is_available only warns of, and only once
        except (RuntimeError, AssertionError, torch.cuda.DeferredCudaCallError) as why:
            failure = str(why)
    return Found(
        torch=str(torch.__version__),
        built_for=f"ROCm {hip}" if hip else f"CUDA {cuda}" if cuda else CPU_ALONE,
        cards=cards,
        kernels=tuple(torch.cuda.get_arch_list()) if cards else (),
        failure=failure,
        nvidia=any(map(os.path.exists, ("/dev/nvidiactl", "/proc/driver/nvidia/version"))) or bool(shutil.which("nvidia-smi")),
        jetson=os.path.exists("/etc/nv_tegra_release") or any(Path("/dev").glob("nvhost*")),
        amd=os.path.exists("/dev/kfd"),
        variable=variable(),
        visible=os.environ.get(variable()),
    )


def _card(index: int) -> tuple[str, str]:
    """Return the name and the architecture of a device."""
    found = torch.cuda.get_device_properties(index)
    return found.name, found.gcnArchName.partition(":")[0] if torch.version.hip else f"sm_{found.major}{found.minor}"
