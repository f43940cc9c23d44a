"""Names of the files and folders of a study: `runs/<study>/trial-00012/` with its snapshots."""

from pathlib import Path

OUT = Path("runs")  # where studies are written unless --out names another folder
STUDY = "tacotron2"  # the study that a command means unless --study names another one
STORAGE_VARIABLE = "TACOTUNE_STORAGE"  # environment: the URL of the database, password included, which no process title shows
PROXY_PORT = 13_000  # port of `proxy` unless --port names another one
ARTIFACTS = "artifacts"  # folder next to those of the studies, with the pictures and sounds of all of them
BEST, LAST, BEFORE = "best.pt", "last.pt", "before.pt"  # best weights; the newest snapshot, and the one before it
NEXT = "next.pt"  # the next best.pt, until the snapshot that says so is written
ALIGNMENTS = "alignments.npz"  # of a trial: how its alignment develops (objective/trial/alignment_history.py)
SENTENCES = "sentences.json"  # of a finished trial: each free-running sentence with its figures and what was heard
# Pictures and sounds of a finished trial, in the order in which they are shown.
ARTIFACT_FILES = (
    "alignment.png",
    "mel.png",
    "gate.png",
    "curves.png",
    "sample.ogg",
    "reference.ogg",
    "sample.wav",
    "reference.wav",
)


def trial_folder(study: Path, number: int) -> Path:
    """Return the folder of one trial, `runs/<study>/trial-00012`."""
    return study / f"trial-{number:05d}"


def url_of(storage: str | None, out: Path) -> str:
    """Return the URL of the database of the studies in `out`: `storage` where it is given, else a SQLite file in `out`."""
    if storage == "postgres-local":
        return f"{storage}:{out / 'postgres'}"
    return storage or sqlite_url(out / "tacotune.db")


def sqlite_url(file: Path) -> str:
    """Return the URL of a SQLite file."""
    path = str(file).replace("%", "%25").replace("?", "%3F")  # characters with a meaning in a URL
    return f"sqlite:///{path}"
