"""Which exceptions are the machine's: those of a GPU are told apart from bugs and from a lack of memory."""

import pytest
import torch

from model.trainer import out_of_memory
from objective.runtime.endings import ending
from objective.runtime.errors import MACHINE, cause, gpu_failure, machine_failure
from objective.settings.schema import SettingsError

MORE = "\nCUDA kernel errors might be asynchronously reported at some other API call."
FAILED = [
    torch.AcceleratorError(f"CUDA error: uncorrectable ECC error encountered{MORE}"),
    torch.AcceleratorError(f"CUDA error: unspecified launch failure{MORE}"),
    torch.AcceleratorError(f"CUDA error: unknown error{MORE}"),
    RuntimeError("CUDA error: no CUDA-capable device is detected"),
    RuntimeError("CUDA error: hardware stack error"),
    RuntimeError("CUDA error: driver shutting down"),
    RuntimeError("CUDA error: system not yet initialized"),
    RuntimeError("CUDA error: CUDA-capable device(s) is/are busy or unavailable"),
    RuntimeError("CUDA error: the MPS client has been terminated by the server"),
    RuntimeError("CUDA error: device is lost"),
    RuntimeError("CUDA driver error: GPU has fallen off the bus"),
    RuntimeError("HIP error: no ROCm-capable device is detected"),
    RuntimeError("Triton Error [CUDA]: unspecified launch failure"),
    RuntimeError("cuDNN error: CUDNN_STATUS_INTERNAL_ERROR"),
    RuntimeError("NCCL error in: NCCLUtils.cpp:94, internal error - please report this issue to the NCCL developers"),
]
NOT_ITS = [
    torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 20.00 MiB. GPU 0 has a total capacity of 7.79 GiB"),
    torch.AcceleratorError(f"CUDA error: out of memory{MORE}"),
    RuntimeError("CUDA error: CUBLAS_STATUS_ALLOC_FAILED when calling `cublasCreate(handle)`"),
    torch.AcceleratorError(f"CUDA error: device-side assert triggered{MORE}"),  # wrong data, or a wrong kernel
    torch.AcceleratorError(f"CUDA error: an illegal memory access was encountered{MORE}"),
    RuntimeError("Triton Error [CUDA]: misaligned address"),
    RuntimeError("an unknown error of ours"),
    RuntimeError("mat1 and mat2 shapes cannot be multiplied (2x3 and 4x5)"),
    ValueError("CUDA error: unspecified launch failure"),
]


@pytest.mark.parametrize("why", FAILED, ids=lambda why: str(why).splitlines()[0])
def test_a_failed_gpu_is_the_machines(why: Exception) -> None:
    sentence = machine_failure(why)
    assert sentence == gpu_failure(why) == cause(why) == f"the GPU: {str(why).splitlines()[0]}"
    assert isinstance(why, MACHINE)
    assert not out_of_memory(why)
    code, printed = ending(why)
    assert code == 1
    assert printed is not None
    assert printed.startswith(f"the machine failed: {sentence}: ")
    assert "\n" not in printed


@pytest.mark.parametrize("why", NOT_ITS, ids=lambda why: str(why).splitlines()[0])
def test_other_errors_are_not(why: Exception) -> None:
    """The process ends with any of them: a bug, or out of memory, which prunes the trial."""
    assert machine_failure(why) is None
    assert ending(why) == (1, None)


def test_a_cause_is_one_line() -> None:
    assert cause(SettingsError(["device cuda: need one", "out: need a folder"])) == "device cuda: need one; out: need a folder"
    assert cause(TypeError("a bug\nin detail")) == "TypeError: a bug"
    assert cause(KeyboardInterrupt()) == "interrupted"
