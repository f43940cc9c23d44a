"""Faults in the arithmetic of a long training, which the launcher puts into its process."""

from collections.abc import Callable
from typing import Any


def around(owner: Any, name: str) -> Callable[[Callable[..., Any]], None]:
    """Replace a function by the decorated one, which receives the original as its first argument."""

    def replace(wrapper: Callable[..., Any]) -> None:
        real = getattr(owner, name)
        setattr(owner, name, lambda *arguments, **named: wrapper(real, *arguments, **named))

    return replace


def poisoned(happens: Callable[[Any], None]) -> None:
    """Call `happens` with the trainer of a long training before its first update and after each."""
    from objective.trial import rescue

    @around(rescue.Rescue, "begin")
    def begin(real: Callable[..., None], self: Any, trainer: Any, *more: Any) -> None:
        real(self, trainer, *more)
        happens(trainer)

    @around(rescue.Rescue, "check")
    def check(real: Callable[..., str | None], self: Any, trainer: Any, *more: Any) -> str | None:
        happens(trainer)
        return real(self, trainer, *more)


def nan_gradients(first: int, last: int) -> None:
    """Make the gradients of the updates from `first` to `last` NaN. Counted in this process: a resumed training goes on."""
    coming = [0]  # update

    def spoilt(gradient: Any) -> Any:
        return gradient * float("nan") if first <= coming[0] <= last else gradient

    def count(trainer: Any) -> None:
        if not coming[0]:
            trainer.network.gate.weight.register_hook(spoilt)
        coming[0] = trainer.cursor.updates + 1

    poisoned(count)


def raised_rate(update: int, factor: float) -> None:
    """Multiply the learning rate once, and leave it there."""

    def raise_it(trainer: Any) -> None:
        if trainer.cursor.updates == update:
            trainer.cursor.rate_scale *= factor

    poisoned(raise_it)
