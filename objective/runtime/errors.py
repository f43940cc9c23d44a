"""Failures of the machine (disk, database, GPU, missing program), told apart from bugs."""

import re
from concurrent.futures import BrokenExecutor

from model.errors import BadInput, RankLost, SpeakingError
from objective.runtime.signals import Interrupted
from storage.errors import FAILURES, database_failure

# Exceptions that `machine_failure` may explain. Torch reports a failed GPU as a RuntimeError.
MACHINE = (OSError, RuntimeError, BrokenExecutor, *FAILURES)

_OF_A_GPU = re.compile(r"\b(CUDA|HIP|cuDNN|NCCL|Triton)\b.*\berror", re.IGNORECASE)
# Texts of the CUDA runtime, of HIP and their libraries. Lack of memory is not among them, nor what a wrong kernel or wrong data
# cause (illegal memory access, device-side assert, misaligned address): that is the configuration's, or a bug.
_GPU_FAILED = re.compile(
    r"uncorrectable (ECC|NVLink) error|device is lost|GPU is lost|fallen off the bus|hardware (stack )?error|unknown error"
    r"|no (CUDA|ROCm)-capable device|busy or unavailable|driver shutting down|driver/library version mismatch"
    r"|unsupported display driver|system not (yet initialized|ready)|MPS (client|server)|launch timed out"
    r"|unspecified launch failure|internal ?error|INTERNAL_ERROR",
    re.IGNORECASE,
)


def machine_failure(why: BaseException) -> str | None:
    """Explain in one sentence that a disk, a database, a GPU or a missing program failed. None for any other exception."""
    if isinstance(why, OSError):
        place = f": {why.filename}" if why.filename else ""
        return f"{(why.strerror or str(why)).lower()}{place}"
    if isinstance(why, SpeakingError | RankLost | BrokenExecutor):
        return str(why)
    return gpu_failure(why) or database_failure(why)


def gpu_failure(why: BaseException) -> str | None:
    """Explain in one sentence that a GPU failed, its driver or its libraries. None for any other exception.

    The process cannot use the GPU again: it has to end, and a new one continues.
    """
    line = str(why).strip().partition("\n")[0]
    if isinstance(why, RuntimeError) and _OF_A_GPU.search(line) and _GPU_FAILED.search(line):
        return f"the GPU: {line}"
    return None


def cause(why: BaseException) -> str:
    """Explain any exception in one line, for the log and for the reason why a trial was released."""
    if isinstance(why, Interrupted | KeyboardInterrupt):
        return str(why) or "interrupted"
    if sentence := machine_failure(why):
        return sentence
    text = str(why).strip()
    if isinstance(why, BadInput):
        return "; ".join(text.splitlines())
    return f"{type(why).__name__}: {text.splitlines()[0]}" if text else type(why).__name__
