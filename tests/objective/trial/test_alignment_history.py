"""The development of an alignment is recorded from the validation itself, and changes nothing in the training."""

from contextlib import nullcontext
from dataclasses import replace
from pathlib import Path

import numpy as np
import torch

from model.report import Report
from model.trainer import VALIDATION_SEED, Trainer
from objective.trial.alignment_history import ALIGNMENTS, AlignmentHistory, attention_at, copy_history, read
from tests.conftest import tiny_config, toy_speech

CPU = torch.device("cpu")


def trainer() -> Trainer:
    return Trainer(tiny_config(), toy_speech(), budget_kframes=0.4, reports=4, device=CPU, seed=1)


def trained(folder: Path | None) -> tuple[Trainer, list[Report]]:
    one = trainer()
    reports = []
    with nullcontext() if folder is None else AlignmentHistory(one, folder) as history:
        for report in one.reports():
            reports.append(replace(report, seconds=0.0))
            if history is not None:
                history.add(report)
    return one, reports


def test_it_holds_the_attention_of_one_sentence_at_every_report(tmp_path: Path) -> None:
    one, reports = trained(tmp_path)
    recorded = [attention_at(report, read(tmp_path)) for report in reports]
    assert len(recorded) == 4
    lengths = sorted(len(example.ids) for example in one.speech.validation)
    shapes = {attention.shape for attention in recorded if attention is not None}
    assert [symbols for _, symbols in shapes] == [lengths[len(lengths) // 2]], "one of middle length"
    one.network.eval()
    with torch.no_grad():
        order = np.argsort(one.validation.frames, kind="stable").tolist()
        torch.manual_seed(VALIDATION_SEED)
        outputs = one.network(one.validation(order))
    (shape,) = shapes
    matching = [
        np.rint(255 * np.sqrt(outputs.alignment[row, : shape[0], : shape[1]].numpy()))
        for row in range(len(order))
        if (int(outputs.step_lengths[row]), int(outputs.symbol_lengths[row])) == shape
    ]
    assert any(np.array_equal(recorded[-1], attention) for attention in matching)  # type: ignore[arg-type]


def test_it_changes_nothing_in_the_training(tmp_path: Path) -> None:
    watched, reports = trained(tmp_path)
    alone, undisturbed = trained(None)
    assert reports == undisturbed
    weights = alone.network.state_dict()
    assert all(torch.equal(value, weights[name]) for name, value in watched.network.state_dict().items())
    assert not watched.network._forward_hooks, "it is gone when the steps end"


def test_a_trial_that_resumes_another_one_continues_its_history(tmp_path: Path) -> None:
    for name in ("old", "new", "empty"):
        (tmp_path / name).mkdir()
    _, reports = trained(tmp_path / "old")
    copy_history(tmp_path / "empty", tmp_path / "new")
    assert read(tmp_path / "new") == {}
    copy_history(tmp_path / "old", tmp_path / "new")
    one = trainer()
    with AlignmentHistory(one, tmp_path / "new") as history:
        one.validate()
        history.add(replace(reports[-1], kframes=0.5))
    assert list(read(tmp_path / "new")) == [*read(tmp_path / "old"), "0.500"]


def test_a_damaged_file_is_an_empty_history(tmp_path: Path) -> None:
    trained(tmp_path)
    content = (tmp_path / ALIGNMENTS).read_bytes()
    for damaged in (b"", b"no archive", content[: len(content) // 2]):
        (tmp_path / ALIGNMENTS).write_bytes(damaged)
        assert read(tmp_path) == {}
