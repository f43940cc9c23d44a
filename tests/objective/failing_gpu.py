"""Emulate a GPU that fails in the middle of a trial, once; as a module, the study command with it.

`python -m tests.objective.failing_gpu MARK ARGUMENT...`: the GPU fails at 6 kframes unless the file MARK exists, which it then
creates. Spawned workers import this module again, as `__mp_main__`.
"""

import sys
from collections.abc import Generator
from pathlib import Path

import torch

from model.report import Report
from model.trainer import Trainer
from objective.study import main

FAILURE = "CUDA error: unspecified launch failure"
undisturbed = Trainer.steps


def fail_once(mark: Path) -> None:
    """Let the trainers of this process meet the failure."""

    def steps(trainer: Trainer) -> Generator[Report | None, None, None]:
        for step in undisturbed(trainer):
            yield step
            if trainer.cursor.frames >= 6_000 and not mark.exists():
                mark.touch()
                raise torch.AcceleratorError(
                    f"{FAILURE}\nCUDA kernel errors might be asynchronously reported at some other call"
                )

    Trainer.steps = steps  # type: ignore[method-assign]


if __name__ in ("__main__", "__mp_main__"):
    fail_once(Path(sys.argv[1]))
if __name__ == "__main__":
    sys.exit(main(sys.argv[2:]))
