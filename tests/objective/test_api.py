"""The examples in docs/api.md run as they stand, and bad health records are refused with what is wrong."""

import re
import shutil
from pathlib import Path
from typing import Any

import optuna
import pytest

from pruners.health_pruner import NO_RECORD, HealthPruner
from pruners.health_record import empty, extended
from tests.model.test_voice import voice

PAGE = Path(__file__).parent.parent.parent / "docs" / "api.md"
EXAMPLES = re.findall(r"^## (.+?)\n.*?^```python\n(.*?)^```", PAGE.read_text(encoding="utf-8"), re.MULTILINE | re.DOTALL)


@pytest.mark.parametrize(("title", "code"), EXAMPLES, ids=[title for title, _ in EXAMPLES])
def test_an_example_runs(
    title: str, code: str, corpus: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    voice().save(tmp_path / "voice.pt")
    (recordings,) = (corpus / "corpora").iterdir()
    shutil.copytree(recordings, tmp_path / "recordings")
    monkeypatch.chdir(tmp_path)
    exec(compile(code, title, "exec"), {"__name__": title})
    assert capsys.readouterr().out.strip()


def test_the_page_has_an_example_for_each_part() -> None:
    assert len(EXAMPLES) == PAGE.read_text(encoding="utf-8").count("\n## ") == 4


def pruned(record: Any) -> tuple[bool, list[str]]:
    """Return whether a trial with this attribute `health` would be pruned, and what was told; None: without it."""
    told: list[str] = []
    study = optuna.create_study(pruner=HealthPruner(warn=told.append))
    trial = study.ask()
    if record is not None:
        trial.set_user_attr("health", record)
    trial.report(1.0, 1)
    return trial.should_prune() or trial.should_prune(), told


def test_without_a_record_nothing_is_pruned_and_that_is_told_once() -> None:
    assert pruned(None) == (False, [NO_RECORD])
    assert pruned(empty(10.0)) == (False, [])


@pytest.mark.parametrize(
    ("record", "sentence"),
    [
        ([1, 2], "need a health record, a dictionary, got a list"),
        ({"kframes": []}, "need a health record with budget_kframes, val_loss, train_loss"),
        (extended(empty(10.0), {"kframes": 1.0}) | {"val_loss": []}, "for each of 1 reports, got others of val_loss"),
    ],
)
def test_a_record_that_rules_cannot_read_is_refused(record: Any, sentence: str) -> None:
    with pytest.raises(ValueError, match=re.escape(sentence)):
        pruned(record)
