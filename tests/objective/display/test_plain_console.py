"""The console in a pipe: one line for each report, each phase and each finished trial."""

from model.report import Gradients
from objective.events.types import Phase, Progressed, Resumed
from tests.objective import samples
from tests.objective.display.screens import lines


def test_one_line_a_report_and_one_a_finished_trial() -> None:
    findings = ("diagonality 0.62 < 0.70", "coverage 0.85 < 0.90")
    text = lines(
        [
            samples.trial_started(3),
            Progressed(3, 60.0, 100),
            samples.reported(3),
            samples.reported(3, status="ATTENTION", findings=findings),
            samples.pruned(3),
        ]
    )
    numbers = "trial 3  120/500 kframes  loss 1.234 val 0.900  grad 1.2/3.4  diag .81 read .89 gate .97"
    started, stable, attention, pruned = text.splitlines()
    assert "recipe nvidia: learning_rate 0.00123, r 2" in started
    assert stable == f"{numbers}  STABLE"
    assert attention == f"{numbers}  ATTENTION: {findings[0]}; {findings[1]}"
    assert pruned.endswith(samples.REASON)


def test_a_report_with_free_running_figures_shows_them_before_its_status() -> None:
    line = lines([samples.trial_started(), samples.reported(report=samples.report(free=samples.FREE))]).splitlines()[-1]
    assert line.endswith("gate .97  errors 4.1% faults 6.2%  STABLE")


def test_a_trial_has_one_number_and_the_study_a_count_of_finished_ones() -> None:
    text = lines([samples.study_started(wanted=24), samples.trial_started(0), samples.trial_started(7, finished=3)])
    first, second = text.splitlines()[-2:]
    assert first.startswith("trial 0  starts, 0 of 24 finished, recipe nvidia: ")
    assert second.startswith("trial 7  starts, 3 of 24 finished, recipe nvidia: ")


def test_a_resumed_trial_names_the_one_whose_snapshot_it_has() -> None:
    assert lines([Resumed(4, 2, 60.0, ())]) == "trial 4  resumes at 60 kframes from the snapshot of trial 2\n"


def test_a_phase_is_a_line_and_only_a_stop_is_one_in_quiet() -> None:
    evaluation = Phase(3, "evaluating: synthesising 5 sentences")
    stop = Phase(3, "stopping: saving its snapshot (interrupted)", stopping=True)
    assert lines([evaluation, stop]) == f"trial 3  {evaluation.name}\ntrial 3  {stop.name}\n"
    assert lines([evaluation, stop], quiet=True) == f"trial 3  {stop.name}\n"


def test_a_message_with_line_breaks_stays_one_line() -> None:
    assert lines([samples.pruned(reason="out of memory\n  at batch 1")]).splitlines() == [
        "⊘ trial 4       0.900  pruned   1 min 12 s  out of memory at batch 1"
    ]


def test_what_was_not_measured_is_a_dash_and_never_a_zero() -> None:
    report = samples.report(health=samples.NOTHING, gradients=Gradients(None, None, 3, 3, None))
    line = lines([samples.trial_started(), samples.reported(report=report)]).splitlines()[-1]
    assert "grad -/-  diag - read - gate -" in line


def test_quiet_leaves_the_finished_trials_and_the_closing_page() -> None:
    text = lines(samples.events(), quiet=True)
    assert text.startswith("✓ trial 0")
    assert "no space left on device" in text
    assert "warning: rule diagonality is disarmed" in text, "quiet does not hide warnings"
    assert all(command in text for command in samples.study_ended().next_commands)
    assert "120/500" not in text
    assert "corpus" not in text
