"""Where the files of a study lie: `runs/<study>/trial-00012/`, and in it the snapshots."""
from pathlib import Path

BEST, LAST, BEFORE = "best.pt", "last.pt", "before.pt"  # best weights; the newest snapshot, and the one before it


def trial_folder(study: Path, number: int) -> Path:
    """`runs/<study>/trial-00012`, where everything of one trial lies."""
    return study / f"trial-{number:05d}"
