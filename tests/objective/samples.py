"""Sample events of a small study; a test changes single fields by keyword."""

from dataclasses import replace
from pathlib import Path
from typing import Any

from model.report import Free, Gradients, Health, Losses, Report
from objective.events.types import Phase, Progressed, Reported, StudyEnded, StudyStarted, TrialEnded, TrialStarted, Warned

LOSSES = Losses(mel_before=0.41, mel_after=0.39, gate=0.1, guided=0.02)
GRADIENTS = Gradients(median=1.2, p95=3.4, nonfinite=0, streak=0, clipped=0.3)
HEALTH = Health(
    diagonality=0.81,
    focus=0.62,
    coverage=0.95,
    backtrack=0.02,
    order=0.98,
    alignment_score=0.55,
    gate_accuracy=0.97,
    stop_f1=0.9,
    stop_error=3.0,
    reading=0.89,
)
FREE = Free(
    value=0.048,
    errors=0.0413,
    floor=0.002,
    failures=0.0625,
    length=1.02,
    silence=0.06,
    alignment_score=0.52,
    mcd_db=6.1,
)
SPOKEN = {  # of a trial, as model/spoken.py sums it up
    "errors": 0.0413,
    "recorded_errors": 0.002,
    "surprise": 0.21,
    "failures": 0.0625,
    "faults": {"mumbled": 1, "skipped": 2},
    "sentences": 32,
    "length": 1.02,
    "silence": 0.06,
    "recorded_silence": 0.05,
    "alignment_score": 0.52,
    "mcd_db": 6.1,
    "text": "tom buys six blue houses on monday.",
    "heard": "tom buys six blue houses on monday",
    "worst_text": "nine old men see four red boats.",
    "worst_heard": "nine men see four red bots",
    "worst_errors": 0.25,
}
MUMBLED = SPOKEN | {"errors": 0.73, "failures": 0.9, "faults": {"mumbled": 29}, "heard": "tn bs ss"}
MUMBLED |= {"worst_heard": "", "worst_errors": 1.0}
MISHEARD = "not understood: 73% of the letters are heard wrong, in recordings 0%; target at most 10%"
NOTHING = Health(**dict.fromkeys(Health.__slots__))
REASON = "diagonality 0.21 < 0.40 in 3 of 3 validations since 180 kframes, so it will not learn to align in its budget"


def report(kframes: float = 120.0, **changes: Any) -> Report:
    values = {
        "kframes": kframes,
        "updates": int(kframes * 2),
        "seconds": kframes / 4,
        "learning_rate": 1e-3,
        "guided_weight": 1.0,
        "train": replace(LOSSES, mel_before=0.6, mel_after=0.534),
        "validation": LOSSES,
        "gradients": GRADIENTS,
        "health": HEALTH,
        "train_health": HEALTH,
    }
    return Report(**(values | changes))


def study_started(folder: Path = Path("runs/tacotron2"), **changes: Any) -> StudyStarted:
    notes = ("corpus: 256 utterances to train, 32 to validate, 12.3 min", "3 of 291 lines left out: 2 too long, 1 silent")
    event = StudyStarted("tacotron2", "sqlite:///runs/tacotron2.db", folder, wanted=5, finished=0, notes=notes)
    return replace(event, **changes)


def trial_started(number: int = 3, **changes: Any) -> TrialStarted:
    event = TrialStarted(number, number + 1, {"learning_rate": 0.00123456, "r": 2}, "recipe nvidia", budget_kframes=500.0)
    return replace(event, **changes)


def reported(number: int = 3, kframes: float = 120.0, **changes: Any) -> Reported:
    return replace(Reported(number, report(kframes), "STABLE"), **changes)


def trial_ended(number: int = 3, **changes: Any) -> TrialEnded:
    event = TrialEnded(
        number=number,
        state="COMPLETE",
        value=0.9,
        reason=None,
        pruned_by=None,
        violations={"reading": -0.25, "gate_accuracy": -0.07},
        seconds=72.0,
        kframes=500.0,
        saved_kframes=0.0,
        folder=Path("runs/tacotron2") / f"trial-{number:05d}",
        last=report(500.0, free=FREE),
        spoken=SPOKEN,
    )
    return replace(event, **changes)


def pruned(number: int = 4, **changes: Any) -> TrialEnded:
    event = trial_ended(number, state="PRUNED", reason=REASON, pruned_by="diagonality", kframes=180.0, saved_kframes=320.0)
    return replace(event, **{"spoken": MUMBLED, **changes})


def misheard(number: int = 5, **changes: Any) -> TrialEnded:
    """A trial that ran to its end and is not understood."""
    event = trial_ended(number, reason=MISHEARD, violations={"understood": 0.628, "free_failures": 0.8}, spoken=MUMBLED)
    return replace(event, **changes)


def row(number: int, healthy: bool = True, **changes: Any) -> dict[str, Any]:
    values = {
        "number": number,
        "state": "COMPLETE",
        "value": 0.9,
        "healthy": healthy,
        "diagonality": 0.93,
        "reading": 0.71,
        "spoken": SPOKEN if healthy else MUMBLED,
        "seconds": 72.0,
        "params": {"learning_rate": 0.00123456, "r": 2},
        "reason": None if healthy else "misses reading by 0.25",
    }
    return values | changes


def study_ended(**changes: Any) -> StudyEnded:
    event = StudyEnded(
        why="finished",
        finished=5,
        wanted=5,
        seconds=3720.0,
        next_commands=(
            'python -m objective.speak --voice tacotron2 --storage sqlite:///runs/tacotron2.db "we share one kitchen."',
            "python -m objective.train --study tacotron2 --storage sqlite:///runs/tacotron2.db",
        ),
        trials=(row(3), row(1, healthy=False), row(4, healthy=False, state="PRUNED", value=None, reason=REASON)),
        importances={"learning_rate": 0.62, "guided_weight": 0.3, "r": 0.08},
        saved_kframes={"diagonality": 320.0, "peers": 140.0},
        repairs=(3, 5),
    )
    return replace(event, **changes)


def events(folder: Path = Path("runs/tacotron2")) -> list[Any]:
    """All events of a study with a healthy, a sick, a pruned and a failed trial."""
    findings = ("reading 0.05 < 0.10 after the warm-up",)
    return [
        study_started(folder),
        trial_started(0),
        Progressed(0, 60.0, 120),
        reported(0),
        Phase(0, "evaluating: synthesising 5 sentences"),
        trial_ended(0, is_best=True),
        trial_started(1),
        reported(1),
        trial_ended(1, violations={"reading": 0.25, "gate_accuracy": -0.1}),
        trial_started(2),
        reported(2, status="CRITICAL", findings=findings),
        pruned(2),
        Warned("rule diagonality is disarmed, it would have stopped trial 0, the best"),
        trial_started(3),
        trial_ended(3, state="FAIL", value=None, reason="OSError: no space left on device", last=None, spoken={}),
        study_ended(),
    ]
