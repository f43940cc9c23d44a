"""The flags of the command: which setting each fills, and what its help says. Their values are checked with the settings."""

from model.text.languages import LANGUAGES

FLAGS: dict[str, tuple[str, str]] = {
    "--trials": ("study.trials", "finished trials in the study, those of earlier runs included (default 50)"),
    "--study": ("study.name", "name of the study and of its folder (default tacotron2)"),
    "--storage": (
        "study.storage",
        "sqlite:///FILE, postgresql://..., postgres-local[:DIR] or grpc://HOST:PORT (default: a SQLite file under --out)",
    ),
    "--data": ("data.path", "folder or list of recordings with texts (default: the built-in corpus)"),
    "--language": ("data.language", f"{' or '.join(LANGUAGES)} (default en)"),
    "--space": ("study.space", "search space: default, demo, safe, seed, record, or a YAML file (default by profile)"),
    "--profile": ("profile", "demo or full (default: full with a GPU and --data, else demo)"),
    "--budget-kframes": ("budget.kframes", "mel frames, in thousands, that one trial may see"),
    "--device": ("device", "auto, cpu or cuda (default auto)"),
    "--warm-start": ("study.warm_start", "checkpoint from which every trial starts: NVIDIA's, NGC's, or a best.pt of a trial"),
    "--sampler": ("study.sampler", "tpe, gp or random (default tpe)"),
    "--pruner": ("pruner.name", "health, peers, both or none (default health: the rules alone)"),
    "--workers": ("study.workers", "worker processes (default: one for each GPU, times --trials-per-gpu)"),
    "--ray": ("study.ray", "place the workers on a Ray cluster: HOST:PORT of its head, or nothing for the one that runs here"),
    "--trials-per-gpu": ("study.trials_per_gpu", "trials that run side by side on the device (default 1)"),
    "--seed": ("study.seed", "the seed from which every trial's follows (default 0)"),
    "--timeout": ("study.timeout_s", "seconds after which the study stops; the same command goes on"),
    "--until": ("study.until", "value that ends the study once a healthy trial reaches it"),
    "--migrate": ("study.migrate", "name of a new study: takes the trials of --study along that the present space still holds"),
    "--with-dashboard": ("watch.dashboard", "serve optuna-dashboard along, on this port of this machine (default 8080)"),
    "--mlflow": ("watch.mlflow", "log to MLflow: a tracking URI, or nothing for a SQLite file under --out"),
    "--tensorboard": ("watch.tensorboard", "write TensorBoard's files along, under --out/tensorboard"),
    "--telegram": ("watch.telegram", "report to Telegram: TELEGRAM_BOT_TOKEN and TELEGRAM_CHAT_ID from the environment"),
    "--out": ("out", "folder for everything that is written (default runs)"),
}

# What a flag without a value means.
BARE = {"--ray": "auto", "--with-dashboard": "8080", "--mlflow": "auto", "--tensorboard": "true", "--telegram": "true"}
