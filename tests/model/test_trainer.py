"""The trainer learns, reports on the same grid for every batch size, resumes exactly, and names what is not finite."""

import copy
import io
import math
from dataclasses import replace

import pytest
import torch
from torch import Tensor

from model.config import Config, Loss, Training
from model.data.loading import Batch, Example, collate
from model.health import measure
from model.loss import Counts, terms
from model.report import Report
from model.schedule import learning_rate
from model.snapshot import Snapshot
from model.trainer import Speech, Trainer
from tests.conftest import tiny_config, toy_speech, without_dropout
from tests.model.training import timeless

CPU = torch.device("cpu")


def trainer(
    config: Config | None = None,
    speech: Speech | None = None,
    kframes: float = 2,
    reports: int = 4,
    start: Snapshot | None = None,
) -> Trainer:
    return Trainer(config or tiny_config(), speech or toy_speech(), kframes, reports, CPU, seed=5, start=start)


@pytest.fixture(scope="module")
def uninterrupted() -> tuple[list[Report], dict[str, Tensor]]:
    """The reports and the final weights of one run."""
    torch.set_num_threads(1)  # like the tests, whose fixture for this comes later
    run = trainer()
    return timeless(list(run.reports())), dict(run.network.state_dict())


def test_it_learns() -> None:
    config = replace(tiny_config(), network=without_dropout(), training=Training(batch_size=4, learning_rate=1e-2))
    losses = [report.train.score or math.inf for report in trainer(config, kframes=8, reports=20).reports()]
    assert losses[-1] < 0.4 * losses[0]


@pytest.mark.parametrize("size", [1, 4, 12])
def test_the_grid_does_not_depend_on_the_batch_size(size: int) -> None:
    config = replace(tiny_config(), training=Training(batch_size=size))
    assert [report.kframes for report in trainer(config, kframes=1).reports()] == [0.25, 0.5, 0.75, 1.0]


def test_two_runs_with_one_seed_are_equal_bit_for_bit(uninterrupted: tuple[list[Report], dict[str, Tensor]]) -> None:
    run = trainer()
    assert timeless(list(run.reports())) == uninterrupted[0]
    torch.testing.assert_close(dict(run.network.state_dict()), uninterrupted[1], rtol=0, atol=0)


@pytest.mark.parametrize("at", [3, 7, 20])
def test_a_resumed_run_equals_an_uninterrupted_one(at: int, uninterrupted: tuple[list[Report], dict[str, Tensor]]) -> None:
    """It was stopped after any update, saved to a file and resumed by another trainer: reports and weights are identical."""
    first = trainer()
    steps = first.steps()
    before = [report for report in (next(steps) for _ in range(at)) if report is not None]
    file = io.BytesIO()
    torch.save(first.snapshot().as_dict(), file)
    file.seek(0)
    torch.manual_seed(999)
    second = trainer(start=Snapshot.from_dict(torch.load(file, weights_only=True)))
    assert timeless(before) + timeless(list(second.reports())) == uninterrupted[0]
    torch.testing.assert_close(dict(second.network.state_dict()), uninterrupted[1], rtol=0, atol=0)


def test_a_validation_between_two_reports_changes_nothing(uninterrupted: tuple[list[Report], dict[str, Tensor]]) -> None:
    """Validation draws its own dropout masks and restores the generator."""
    run = trainer()
    for step in run.steps():
        if step is None:
            run.validate()
    torch.testing.assert_close(dict(run.network.state_dict()), uninterrupted[1], rtol=0, atol=0)


def test_every_validation_has_the_same_dropout() -> None:
    run = trainer()
    next(run.reports())
    first = run.validate()
    torch.manual_seed(1)
    assert run.validate() == first


def test_a_term_that_is_not_finite_is_named_and_its_step_skipped() -> None:
    speech = toy_speech()
    broken = [Example(example.ids, example.mel * math.nan) for example in speech.train]
    run = trainer(speech=replace(speech, train=broken))
    before = {name: value.clone() for name, value in run.network.named_parameters()}
    report = next(run.reports())
    assert report.gradients.culprit == "mel_before"
    assert report.gradients.nonfinite == report.gradients.streak == report.updates > 0
    assert (report.gradients.median, report.train.mel_before) == (None, None)
    torch.testing.assert_close(dict(run.network.named_parameters()), before, rtol=0, atol=0)


def test_the_gradient_norm_is_read_before_clipping() -> None:
    config = replace(tiny_config(), training=Training(batch_size=4, clip_norm=1e-6))
    report = next(trainer(config).reports())
    assert report.gradients.median is not None
    assert report.gradients.median > 1e-3
    assert report.gradients.clipped == 1.0


def test_clipping_bounds_the_step() -> None:
    """A tiny clip lets Adam's epsilon dominate, so that the weights hardly change."""
    changes = {}
    for clip in (1e-12, 1.0):
        run = trainer(replace(tiny_config(), training=Training(batch_size=4, clip_norm=clip, weight_decay=0.0)))
        before = torch.cat([value.detach().flatten().clone() for value in run.network.parameters()])
        next(run.reports())
        after = torch.cat([value.detach().flatten() for value in run.network.parameters()])
        changes[clip] = float((after - before).norm())
    assert changes[1e-12] < 1e-3 * changes[1.0]


def test_guided_weight_decays_once_an_alignment_is_measured() -> None:
    base = tiny_config()
    late = trainer(replace(base, loss=replace(base.loss, guided_until=1.1)))
    assert {report.guided_weight for report in late.reports()} == {base.loss.guided_weight}
    immediate = trainer(replace(base, loss=replace(base.loss, guided_until=-1.0, guided_halflife_share=0.25)))
    weights = [report.guided_weight for report in immediate.reports()]
    assert weights[0] == base.loss.guided_weight
    assert weights[1:] == pytest.approx([0.5, 0.25, 0.125], rel=0.1)


def test_the_schedules_follow_their_formulas() -> None:
    base = Training(learning_rate=1.0, warmup_share=0.1)
    assert learning_rate(base, 0.05) == pytest.approx(0.5)
    assert learning_rate(base, 0.7) == 1.0
    cosine = replace(base, schedule="cosine")
    assert [learning_rate(cosine, p) for p in (0.1, 0.55, 1.0)] == pytest.approx([1.0, 0.5, 0.0])
    noam = replace(base, schedule="noam")
    assert [learning_rate(noam, p) for p in (0.1, 0.4)] == pytest.approx([1.0, 0.5])


def test_reference_and_deferred_train_equally() -> None:
    losses = {
        how: [report.val_loss for report in trainer(tiny_config(recurrence=how), kframes=1.5).reports()]
        for how in ("reference", "deferred")
    }
    assert losses["deferred"] == pytest.approx(losses["reference"], rel=3e-4)  # sums in another order


@pytest.mark.parametrize("how", ["reference", "deferred"])
def test_half_precision_measures_the_same_gradient(how: str) -> None:
    medians = {}
    for kind in ("fp32", "bf16"):
        config = replace(tiny_config(recurrence=how), training=Training(batch_size=4, precision=kind))
        report = next(trainer(config).reports())
        assert report.gradients.nonfinite == 0
        assert report.val_loss is not None
        medians[kind] = report.gradients.median
    assert medians["bf16"] == pytest.approx(medians["fp32"], rel=0.1)
    assert medians["bf16"] != medians["fp32"], "autocast was on"


def test_the_gradient_norm_is_read_after_unscaling() -> None:
    """A loss scaler multiplies the loss by 65,536 before the backward pass: neither norm nor weights may contain this."""
    plain, scaled = trainer(), trainer()
    scaled.update.scaler = torch.amp.GradScaler("cpu", enabled=True)
    torch.manual_seed(5)
    one = next(plain.reports())
    torch.manual_seed(5)
    other = next(scaled.reports())
    assert scaled.update.scaler.get_scale() >= 65_536
    assert other.gradients.median == pytest.approx(one.gradients.median, rel=1e-4)
    assert other.val_loss == pytest.approx(one.val_loss, rel=1e-4)


def test_fp16_is_refused_on_a_cpu() -> None:
    with pytest.raises(ValueError, match="choose auto, bf16 or fp32"):
        trainer(replace(tiny_config(), training=Training(precision="fp16")))


def test_skipped_steps_do_not_affect_the_network() -> None:
    """One utterance among many is NaN: its steps are skipped, and validation stays finite."""
    speech = toy_speech()
    broken = [Example(speech.train[0].ids, speech.train[0].mel * math.nan), *speech.train[1:]]
    report = next(trainer(speech=replace(speech, train=broken), reports=1).reports())
    assert 0 < report.gradients.nonfinite < report.updates
    assert report.val_loss is not None


def test_the_schedule_reaches_the_optimiser_and_counts_frames() -> None:
    rates = {}
    for size in (2, 6):
        run = trainer(replace(tiny_config(), training=Training(batch_size=size, learning_rate=1.0, warmup_share=0.99)))
        reports = list(run.reports())
        rates[size] = [report.learning_rate for report in reports[:3]]
        assert float(run.update.optimiser.param_groups[0]["lr"]) == reports[-1].learning_rate
    assert rates[2] == pytest.approx([0.25, 0.5, 0.75], abs=0.08)
    assert rates[6] == pytest.approx([0.25, 0.5, 0.75], abs=0.08)


def test_validation_counts_frames_not_batches(monkeypatch: pytest.MonkeyPatch) -> None:
    speech = replace(toy_speech(), validation=[*toy_speech().validation, *toy_speech(12).train])
    run = trainer(replace(tiny_config(), network=without_dropout()), speech=speech)
    complete, _ = run.validate()
    monkeypatch.setattr("model.trainer.VALIDATION_BATCH", 3)
    parts, _ = run.validate()
    assert parts.score == pytest.approx(complete.score, rel=1e-5)
    assert parts.guided == pytest.approx(complete.guided, rel=1e-4)


def test_a_validations_guided_term_does_not_depend_on_the_trials_sigma() -> None:
    base = tiny_config()
    narrow, wide = (trainer(replace(base, loss=replace(base.loss, guided_sigma=sigma))).validate()[0] for sigma in (0.1, 0.5))
    assert narrow == wide


def test_weight_decay_shrinks_the_weights() -> None:
    norms = {}
    for decay in (0.0, 10.0):
        run = trainer(replace(tiny_config(), training=Training(learning_rate=1e-2, weight_decay=decay)), kframes=2)
        list(run.reports())
        norms[decay] = float(run.network.encoder.embedding.weight.detach().norm())
    assert norms[10.0] < 0.85 * norms[0.0]


def test_train_health_is_measured_on_the_last_training_batch() -> None:
    """Without dropout, the same batch through the network before that update gives the same measurements."""
    config = replace(tiny_config(), network=without_dropout())
    watched, seen = trainer(config), []
    watched.network.register_forward_pre_hook(
        lambda network, arguments: seen.append((arguments[0], copy.deepcopy(network))) if network.training else None
    )
    for report in watched.reports():
        batch, before = seen[-1]
        again = measure(before(batch), config)
        for name in ("diagonality", "focus", "coverage", "backtrack", "reading", "alignment_score", "gate_accuracy"):
            assert getattr(report.train_health, name) == pytest.approx(float(again[name].mean()), abs=1e-6)


class LittleMemory:
    """An update with memory for batches of at most `most` utterances."""

    def __init__(self, run: Trainer, most: int) -> None:
        self.update, self.most, self.sizes = run.update, most, []  # type: ignore[var-annotated]
        run.update = self  # type: ignore[assignment]

    def __getattr__(self, name: str) -> object:
        return getattr(self.update, name)

    def __call__(self, parts: list[Batch]) -> object:
        if max(len(batch.ids) for batch in parts) > self.most:
            raise torch.OutOfMemoryError("out of memory")
        self.sizes.append([len(batch.ids) for batch in parts])
        return self.update(parts)


def test_out_of_memory_the_batch_is_divided_into_parts() -> None:
    """The gradients of the parts add up to those of the batch, apart from batch norm, whose statistics are those of a part."""
    config = replace(tiny_config(), network=without_dropout(), training=Training(batch_size=8))
    undivided, parts = trainer(config, reports=1), trainer(config, reports=1)
    limited = LittleMemory(parts, most=3)
    one, other = next(undivided.reports()), next(parts.reports())
    assert {tuple(sizes) for sizes in limited.sizes} == {(3, 3)}  # of the two batches of six that twelve utterances make
    assert parts.cursor.part == 3
    assert (one.kframes, one.updates) == (other.kframes, other.updates)
    assert other.gradients.median == pytest.approx(one.gradients.median, rel=0.3)
    assert other.train.mel_before == pytest.approx(one.train.mel_before, rel=0.2)


def test_a_single_utterance_that_does_not_fit_ends_the_training() -> None:
    run = trainer()
    LittleMemory(run, most=0)
    with pytest.raises(torch.OutOfMemoryError):
        next(run.reports())


@torch.no_grad()
def test_terms_of_parts_add_up_to_those_of_the_batch() -> None:
    examples = toy_speech().train
    run = trainer(replace(tiny_config(), network=without_dropout()))
    run.network.eval()
    parts = [collate(examples[:5]), collate(examples[5:8])]
    counts = Counts.of(parts, run.config.network.reduction)
    expected = terms(run.network(collate(examples[:8])), collate(examples[:8]), run.update.mel_std, Loss())
    added = [terms(run.network(part), part, run.update.mel_std, Loss(), counts) for part in parts]
    for name in ("mel_before", "mel_after", "gate", "gate_weighted", "guided"):
        assert float(sum(getattr(each, name) for each in added)) == pytest.approx(float(getattr(expected, name)), rel=1e-5)
