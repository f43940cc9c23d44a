"""Where the files of a study lie: `runs/<study>/trial-00012/`, and in it the snapshots."""

from pathlib import Path

OUT = Path("runs")  # where studies are written unless --out names another folder
STUDY = "tacotron2"  # the study that a command means unless --study names another one
STORAGE_VARIABLE = "TACOTUNE_STORAGE"  # environment: the URL of the database, password included, which no process title shows
PROXY_PORT = 13_000  # of `proxy` unless --port names another one
ARTIFACTS = "artifacts"  # folder beside those of the studies, with what all of them have to show
BEST, LAST, BEFORE = "best.pt", "last.pt", "before.pt"  # best weights; the newest snapshot, and the one before it
# What a person looks at and listens to of a finished trial, the first ones first.
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
    """`runs/<study>/trial-00012`, where everything of one trial lies."""
    return study / f"trial-{number:05d}"


def url_of(storage: str | None, out: Path) -> str:
    """Where the studies of the folder `out` are kept: in `storage`, as somebody has said it, or in a file there."""
    if storage == "postgres-local":
        return f"{storage}:{out / 'postgres'}"
    if storage:
        return storage
    file = str(out / "tacotune.db").replace("%", "%25").replace("?", "%3F")  # signs that mean something in a URL
    return f"sqlite:///{file}"
