"""The scene of the live console: what runs, what has finished, and how long it will take, as values and pure functions."""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from statistics import median
from typing import Any

from model.report import Report
from objective.events.types import Event, Phase, Progressed, Reported, Resumed, StudyStarted, TrialEnded, TrialStarted

STARTING = "starting"


@dataclass(frozen=True, slots=True)
class Running:
    """A trial that runs now."""

    trial: TrialStarted
    began: float  # clock at its start, s
    first: tuple[float, float] | None = None  # clock and kframes of its first progress, from which its pace is counted
    kframes: float = 0.0
    latest: Reported | None = None
    judged: Report | None = None  # the newest one with figures of free-running synthesis
    phase: str = STARTING  # what it does apart from training; empty while it trains
    stopping: bool = False


@dataclass(frozen=True, slots=True)
class Scene:
    """All that the live view shows, as one value: the redrawing thread sees the old one or the new one, never a mixture."""

    study: StudyStarted
    running: tuple[Running, ...] = ()  # in the order of their starts
    seconds: tuple[float, ...] = ()  # durations of the trials finished here
    best: tuple[float, int] | None = None  # value and number

    @property
    def finished(self) -> int:
        """Finished trials of the study, as far as this command knows: other machines may finish some, too."""
        started = max((running.trial.finished for running in self.running), default=0)
        return max(self.study.finished + len(self.seconds), started)


def after(scene: Scene, event: Event, now: float) -> Scene:
    """Return the scene once `event` has happened, at the clock `now`."""
    match event:
        case TrialStarted():
            return replace(scene, running=(*_others(scene, event.number), Running(event, now)))
        case Resumed():
            return _changed(scene, event.number, kframes=event.kframes, judged=_judged(event.reports))
        case Progressed():
            return _trained(scene, event.number, now, kframes=event.kframes)
        case Reported():
            found = _judged([event.report])
            news = {"latest": event} | ({} if found is None else {"judged": found})
            return _trained(scene, event.number, now, kframes=event.report.kframes, **news)
        case Phase():
            return _changed(scene, event.number, phase=event.name, stopping=event.stopping)
        case TrialEnded():
            counts = () if event.state == "FAIL" else (event.seconds,)
            best = (event.value, event.number) if event.is_best and event.value is not None else scene.best
            return replace(scene, running=_others(scene, event.number), seconds=scene.seconds + counts, best=best)
    return scene


def trial_left(running: Running, now: float) -> float | None:
    """Return the seconds until a trial has trained, at its own pace; None where that is unknown, or it no longer trains."""
    if running.first is None or running.phase:
        return None
    began, start = running.first
    done, rest = running.kframes - start, running.trial.budget_kframes - running.kframes
    return None if done <= 0 or rest <= 0 or now <= began else rest * (now - began) / done


def study_left(scene: Scene, now: float) -> float | None:
    """Return the seconds until the study ends, at the median of its finished trials, or at the pace of its running ones.

    None where that is unknown, and where only the end of a trial is left to wait for.
    """
    rests = [(running, rest) for running in scene.running if (rest := trial_left(running, now)) is not None]
    to_come = max(0, scene.study.wanted - max((running.trial.ordinal for running in scene.running), default=0))
    if not scene.running or (not rests and not (scene.seconds and to_come)):
        return None
    each = median(scene.seconds) if scene.seconds else median(now - running.began + rest for running, rest in rests)
    return max((rest for _, rest in rests), default=0.0) + each * to_come / len(scene.running)


def _judged(reports: Sequence[Report]) -> Report | None:
    """Return the newest of the reports at which the trial was judged free-running."""
    return next((report for report in reversed(reports) if report.free.failures is not None), None)


def _others(scene: Scene, number: int) -> tuple[Running, ...]:
    return tuple(running for running in scene.running if running.trial.number != number)


def _changed(scene: Scene, number: int, **values: Any) -> Scene:
    """Return the scene with new values of one of the running trials."""
    running = (replace(one, **values) if one.trial.number == number else one for one in scene.running)
    return replace(scene, running=tuple(running))


def _trained(scene: Scene, number: int, now: float, **values: Any) -> Scene:
    """Return the scene after a trial has seen frames. One that is stopping keeps its phase."""
    for running in scene.running:
        if running.trial.number == number:
            phase = running.phase if running.stopping else ""
            first = running.first or (now, values["kframes"])
            return _changed(scene, number, first=first, phase=phase, **values)
    return scene
