"""The settings: what overrides what, how mistakes are reported, and where secrets must not appear."""

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import yaml
from hypothesis import given
from hypothesis import strategies as st

from model.config import Config
from objective.settings.flags import FLAGS
from objective.settings.resolve import resolve
from objective.settings.schema import Settings, SettingsError, mask_url
from pruners.thresholds import Thresholds
from search_spaces.knobs import apply
from search_spaces.space import SHIPPED, load


def settled(
    text: str | None = None, *assignments: str, folder: Path | None = None, gpu: bool = False, **flags: Any
) -> Settings:
    file = None
    if text is not None and folder is not None:
        file = folder / "settings.yaml"
        file.write_text(text, encoding="utf-8")
    return resolve(file, assignments, {key.replace("__", "."): value for key, value in flags.items()}, gpu=gpu)


def mistakes(*args: Any, **kwargs: Any) -> list[str]:
    with pytest.raises(SettingsError) as caught:
        settled(*args, **kwargs)
    assert str(caught.value).splitlines() == caught.value.mistakes
    return caught.value.mistakes


def mistake(*args: Any, **kwargs: Any) -> str:
    (only,) = mistakes(*args, **kwargs)
    return only


def test_the_demo_is_the_default() -> None:
    settings = settled()
    assert (settings.profile, settings.budget.kframes, settings.study.space) == ("demo", 2_000, "demo")
    assert settings.network.encoder == 128
    assert settings.data.path is None


@pytest.mark.parametrize(
    ("gpu", "data", "device", "profile"),
    [(True, "clips", None, "full"), (False, "clips", None, "demo"), (True, None, None, "demo"), (True, "clips", "cpu", "demo")],
)
def test_the_full_profile_needs_a_gpu_and_data(gpu: bool, data: str | None, device: str | None, profile: str) -> None:
    settings = settled(gpu=gpu, data__path=data, device=device)
    assert settings.profile == profile
    assert settings.config() == (Config() if profile == "full" else settled().config())
    assert settings.study.space == ("default" if profile == "full" else "demo")


def test_a_named_profile_overrides_the_default(tmp_path: Path) -> None:
    assert settled(profile="full").budget.kframes is None
    assert settled("profile: full", folder=tmp_path).profile == "full"
    assert settled("profile: full", folder=tmp_path, profile="demo").profile == "demo"
    assert settled("profile: full", folder=tmp_path, profile="auto").profile == "demo"


def test_flags_override_set_which_overrides_the_file_and_the_profile(tmp_path: Path) -> None:
    file = "budget: {kframes: 100}"
    assert settled().budget.kframes == 2_000
    assert settled(file, folder=tmp_path).budget.kframes == 100
    assert settled(file, "budget.kframes=200", folder=tmp_path).budget.kframes == 200
    assert settled(file, "budget.kframes=200", folder=tmp_path, budget__kframes=300).budget.kframes == 300
    assert settled(file, "budget.kframes=200", folder=tmp_path, budget__kframes=None).budget.kframes == 200
    assert settled(None, "budget.kframes=200", "budget.kframes=250").budget.kframes == 250


def test_nested_and_dotted_keys_are_equivalent(tmp_path: Path) -> None:
    nested = "training:\n  learning_rate: 1e-3\nhealth: {diagonality: {warn: 0.6}}\nbudget:\n"
    dotted = "training.learning_rate: 1e-3\nhealth.diagonality: {warn: 0.6}\n"
    assert settled(nested, folder=tmp_path) == settled(dotted, folder=tmp_path)
    assert settled(nested, folder=tmp_path).health.diagonality.critical == Thresholds().diagonality.critical


@given(st.floats(1e-9, 1e3), st.sampled_from(["{:e}", "{:.3g}", "{!r}", "{:.0e}"]))
def test_numbers_are_read_in_every_notation(value: float, form: str) -> None:
    text = form.format(value)
    assert settled(None, f"training.learning_rate={text}").training.learning_rate == float(text)


@pytest.mark.parametrize("text", ["1e-3", "1E-3", "1.0e-3", "+1e-3", "0.001", "1e-03"])
def test_numbers_with_exponents_are_read_from_a_file(tmp_path: Path, text: str) -> None:
    assert settled(f"training.learning_rate: {text}", folder=tmp_path).training.learning_rate == 1e-3


def test_set_accepts_yaml_values() -> None:
    settings = settled(None, "study.recipes=[nvidia, safe]", "study.name=2024", "quiet=true", "threads=null", "data.path=a=b")
    assert settings.study.recipes == ("nvidia", "safe")
    assert settings.study.name == "2024"
    assert settings.quiet is True
    assert settings.threads is None
    assert settings.data.path == Path("a=b")


def test_a_mistake_in_a_flag_names_the_flag() -> None:
    reported = mistakes(**{flag.key.replace(".", "__"): ["no", "value"] for flag in FLAGS.values()})
    assert sorted(line.split(": ")[0] for line in reported) == sorted(FLAGS)


def test_a_short_budget_has_a_report_for_each_of_its_kframes() -> None:
    short = resolve(None, [], {"budget.kframes": "20"}, gpu=False)
    assert (short.budget.kframes, short.budget.reports) == (20, 20)
    assert resolve(None, [], {"budget.kframes": "400"}, gpu=False).budget.reports == 24
    with pytest.raises(SettingsError, match="need kframes >= reports, got kframes=20, reports=24: report less often"):
        resolve(None, ["budget.reports=24"], {"budget.kframes": "20"}, gpu=False)


def test_flags_are_read_from_strings() -> None:
    settings = settled(study__trials="7", study__timeout_s="60", out="2024", study__name="1e-3", data__path="clips")
    assert (settings.study.trials, settings.study.timeout_s, settings.out) == (7, 60.0, Path("2024"))
    assert (settings.study.name, settings.data.path) == ("1e-3", Path("clips"))


@pytest.mark.parametrize(
    ("assignment", "sentence"),
    [
        ("training.lerning_rate=1", "training.lerning_rate: unknown: did you mean training.learning_rate?"),
        ("learning_rate=1", "learning_rate: unknown: did you mean training.learning_rate?"),
        ("studdy=1", "studdy: unknown: did you mean study?"),
        ("health.targets.alignment_score=0.5", "health.targets.alignment_score: unknown: did you mean health.targets.reading?"),
        ("trails=3", "trails: unknown: did you mean study.trials?"),
        ("traning.learning_rate=1", "traning.learning_rate: unknown: did you mean training.learning_rate?"),
        ("study.quux=1", "study.quux: unknown: need one of study.name, study.trials, "),
        ("quux=1", "quux: unknown: need one of study, data, "),
        ("study=3", "study: is a group, need one of its settings: study.name, study.trials"),
        ("budget.kframes=soon", "need a valid integer, unable to parse string as an integer, got 'soon' (default None)"),
        ("study.trials=0", "study.trials: need >= 1, got 0 (default 50)"),
        ("study.sampler=tpa", "study.sampler: need 'tpe', 'gp' or 'random', got 'tpa' (default tpe)"),
        ("study.name=../x", "study.name: need a name of letters, digits, '_', '-' and '.', got '../x'"),
        ("study.recipes=[nvida]", "need names of recipes, got 'nvida': did you mean nvidia?"),
        ("training.clip_norm=0", "training.clip_norm: need clip_norm > 0, got 0.0"),
        ("training.clip_norm=.inf", "training.clip_norm: need a finite number, got inf (default 1.0)"),
        ("training.batch_size=true", "training.batch_size: need a finite number, got True (default 64)"),
        ("training.schedule=warm", "training.schedule: schedule is one of constant, cosine, noam; got 'warm'"),
        ("health.coverage.critical=0.95", "need critical <= warn, got critical=0.95, warn=0.9: swap them"),
        ("health.overfit_gap.warn=2", "need warn <= critical, got warn=2.0, critical=1.0: swap them"),
        ("health.stagnation.window_share=0", "need window_share > 0, got 0.0"),
        ("pruner.margin=-1", "need margin and slack >= 0 and one of them > 0, got -1.0 and 0.5"),
        ("health.targets.diagonality=8", "need 0 <= diagonality <= 1, got 8.0"),
        ("health.gate_accuracy.patience_share=1", "need 0 <= patience_share < 1, got 1.0"),
        ("health.grad_norm.relative=1", "need relative > 1, got 1.0"),
        ("data.limits.min_seconds=30", "need 0 <= min_seconds < max_seconds, got 30.0 and 20.0"),
        ("study.space=[", "line 1: need valid YAML"),
        ("quiet", "need key=value, got no `=`"),
    ],
)
def test_a_mistake_is_reported_with_place_rule_and_way_out(assignment: str, sentence: str) -> None:
    reported = mistake(None, assignment, profile="full")
    assert reported.startswith(f"--set: {assignment.partition('=')[0]}")
    assert sentence in reported


def test_all_mistakes_are_reported_at_once(tmp_path: Path) -> None:
    file = "study: {sampler: gp, trials: many}\nnetwork: {encoder: 3, reductoin: 2}\ndata.token: x\n"
    reported = mistakes(
        file,
        "training.schedule=warm",
        "training.clip_norm=x",
        "budget.kframes=3",
        "budget.reports=24",
        folder=tmp_path,
        study__seed=-1,
    )
    expected = [
        ("settings.yaml", "network.reductoin: unknown"),
        ("settings.yaml", "data.token: secrets come from the environment only"),
        ("settings.yaml", "study.trials: need a valid integer"),
        ("settings.yaml", "network.encoder: encoder is shared by two directions"),
        ("--set", "training.schedule: schedule is one of"),
        ("--set", "training.clip_norm: need a valid number"),
        ("--set", "budget.kframes, budget.reports: need kframes >= reports"),
        ("--seed", "study.seed: need >= 0, got -1"),
    ]
    assert len(reported) == len(expected)
    for where, sentence in expected:
        assert any(where in line and sentence in line for line in reported), sentence


@pytest.mark.parametrize(
    ("text", "sentence"),
    [
        ("study: [\n", "line 2: need valid YAML"),
        ("study: {trials: 1}\nstudy: {trials: 2}\n", "line 2: need valid YAML: study is given twice"),
        ("study: {trials: 1}\nstudy.trials: 2\n", "study.trials: is set twice, nested and dotted: keep one"),
        ("- 1\n", "need `key: value` lines, got list"),
        ("study: 3\n", "study: is a group"),
    ],
)
def test_a_mistake_in_a_file_is_reported_with_its_place(tmp_path: Path, text: str, sentence: str) -> None:
    reported = mistake(text, folder=tmp_path)
    assert reported.startswith(f"{tmp_path / 'settings.yaml'}: ")
    assert sentence in reported


def test_an_unreadable_settings_file_is_reported(tmp_path: Path) -> None:
    with pytest.raises(SettingsError, match="need a file that can be read, got No such file"):
        resolve(tmp_path / "no.yaml", [], {}, gpu=False)
    (tmp_path / "latin.yaml").write_bytes("study: {name: é}".encode("latin-1"))
    with pytest.raises(SettingsError, match="need UTF-8, got an invalid byte at position 14"):
        resolve(tmp_path / "latin.yaml", [], {}, gpu=False)


@pytest.mark.parametrize("assignment", ["telegram.token=hunter2", "password=hunter2", "api_key=hunter2", "token:hunter2"])
def test_a_secret_is_refused_and_not_printed(tmp_path: Path, assignment: str) -> None:
    assert "hunter2" not in mistake(None, assignment)
    reported = mistake(assignment.replace("=", ": ").replace("token:h", "token: h"), folder=tmp_path)
    assert "secrets come from the environment only" in reported
    assert "hunter2" not in reported


@given(st.text(st.characters(exclude_categories=["Z", "C"]), min_size=8), st.sampled_from(["", "user"]))
def test_a_password_in_a_url_is_never_shown(password: str, user: str) -> None:
    url = f"postgresql://{user}:{password}@host:5432/voices"
    settings = resolve(None, [], {"study.storage": url}, gpu=False)
    assert settings.storage_url == url
    assert settings.dump()["study"]["storage"] == mask_url(url) == f"postgresql://{user}:***@host:5432/voices"
    shown = repr(settings) + str(settings) + settings.model_dump_json() + repr(settings.study)
    assert f":{password}@" not in shown


@pytest.mark.parametrize(
    ("url", "shown"),
    [
        ("sqlite:///runs/tacotune.db", "sqlite:///runs/tacotune.db"),
        ("postgresql://me@host/db", "postgresql://me@host/db"),
        ("postgresql://host:5432/db", "postgresql://host:5432/db"),
        ("postgresql://host/db?user=me&password=abc&sslmode=on", "postgresql://host/db?user=me&password=***&sslmode=on"),
        ("postgresql+psycopg://me:a@b@host/db", "postgresql+psycopg://me:***@host/db"),
    ],
)
def test_only_the_secret_part_of_a_url_is_masked(url: str, shown: str) -> None:
    assert mask_url(url) == shown


def test_a_misplaced_url_is_masked_in_the_error() -> None:
    reported = mistake(None, "study.storage=[postgresql://me:hunter2@host/db]")
    assert "hunter2" not in reported


def test_the_default_storage_is_a_file_under_out() -> None:
    settings = settled(out="elsewhere", study__name="voice")
    assert settings.storage_url == "sqlite:///elsewhere/tacotune.db"
    assert settings.folder == Path("elsewhere/voice")


@pytest.mark.parametrize("profile", ["demo", "full"])
def test_a_dump_is_a_settings_file(tmp_path: Path, profile: str) -> None:
    settings = settled(None, "training.learning_rate=3e-4", "study.timeout_s=60", "data.path=clips", profile=profile)
    dumped = settings.dump()
    assert json.loads(json.dumps(dumped)) == dumped
    assert settled(yaml.safe_dump(dumped), folder=tmp_path) == settings


@pytest.mark.parametrize("name", SHIPPED)
def test_a_trial_gets_the_values_of_its_space(name: str) -> None:
    settings = settled(None, "loss.gate_weight=2.0")
    chosen = {"training.learning_rate": 3e-4, "loss.guided_weight": 0.5}
    config = settings.config(chosen)
    assert config == apply(settings.config(), chosen)
    assert (config.training.learning_rate, config.loss.guided_weight, config.loss.gate_weight) == (3e-4, 0.5, 2.0)
    assert load(name, settings.config()).base.loss.gate_weight == 2.0


def test_settings_are_frozen() -> None:
    with pytest.raises(ValueError, match="frozen"):
        settled().study.trials = 3


def test_resolving_settings_imports_nothing_heavy() -> None:
    heavy = ("torch", "optuna", "librosa", "scipy", "soundfile", "matplotlib", "sqlalchemy", "rich")
    code = f"import sys, objective.settings.resolve; print([name for name in {heavy} if name in sys.modules])"
    loaded = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert loaded.stdout.strip() == "[]"


def test_a_gradient_norm_level_of_zero_is_refused() -> None:
    with pytest.raises(SettingsError, match="need warn > 0"):
        resolve(None, ["health.grad_norm.warn=0"], {}, gpu=False)
