"""Both consoles show a study from its header to its next command, whatever its messages and its terminal are."""

import io

import pytest
from rich.console import Console

from objective.display.live_console import LiveDisplay, console
from objective.display.plain_console import PlainLines
from tests.objective import samples
from tests.objective.display.screens import Terminal, colourless, display, lines, unwrapped


def test_a_terminal_gets_the_live_display_and_everything_else_plain_lines(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TERM", "xterm-256color")
    assert isinstance(console(False, Terminal()), LiveDisplay)
    assert isinstance(console(False, io.StringIO()), PlainLines)
    assert isinstance(console(True, Terminal()), PlainLines)
    monkeypatch.setenv("TERM", "dumb")
    assert isinstance(console(False, Terminal()), PlainLines)


@pytest.mark.parametrize("show", [lines, display])
def test_a_study_is_shown_from_its_header_to_its_next_commands(show) -> None:
    text = show(samples.events())
    output = unwrapped(text)
    started, ended = samples.study_started(), samples.study_ended()
    for note in (started.name, started.storage, str(started.folder), *started.notes):
        assert note in output
    assert (
        f'✓ trial 0 0.900 healthy 1 min 12 s heard "{samples.SPOKEN["heard"]}", errors 4.1%, faults 6.2%, best so far' in output
    )
    assert "! trial 1 0.900 sick 1 min 12 s misses reading by 0.25" in output
    assert f"⊘ trial 2 0.900 pruned 1 min 12 s {samples.REASON}" in output
    assert "✗ trial 3 - failed 1 min 12 s OSError: no space left on device" in output
    assert "warning: rule diagonality is disarmed, it would have stopped trial 0, the best" in output
    assert "finished: 5 of 5 trials, in 1 h 02 min" in output
    assert all(f"  {command}\n" in text for command in ended.next_commands), "a wrapped command cannot be pasted"


@pytest.mark.parametrize("show", [lines, display])
def test_the_closing_page_ranks_weighs_and_counts(show) -> None:
    text = show([samples.study_started(), samples.study_ended()])
    output = unwrapped(text)
    assert "✓ 3 0.900 healthy 4.1% 6.2% 1 min 12 s learning_rate 0.00123, r 2" in output
    assert "misses reading by 0.25" in output
    assert samples.REASON in output
    assert "No healthy trial" not in output
    bars = {name: text.split(name)[-1].split("\n")[0].count("█") for name in ("  learning_rate ", "guided_weight", "  r  ")}
    assert bars["  learning_rate "] == 2 * bars["guided_weight"] > 4 * bars["  r  "] > 0
    assert "diagonality 320 kframes peers 140 kframes together 460 kframes" in output
    assert "repairs: 3 of 5 better than their parents" in output
    assert "repairs" not in show([samples.study_started(), samples.study_ended(repairs=(0, 0))])


@pytest.mark.parametrize("show", [lines, display])
def test_a_study_without_a_healthy_trial_names_the_closest(show) -> None:
    ended = samples.study_ended(trials=(samples.row(7, healthy=False), samples.row(2, healthy=False, reason="misses gate")))
    output = unwrapped(show([samples.study_started(), ended]))
    assert "No healthy trial yet. The closest is trial 7: misses reading by 0.25" in output


@pytest.mark.parametrize("show", [lines, display])
def test_a_finished_trial_says_what_was_heard_unless_a_rule_stopped_it(show) -> None:
    output = unwrapped(show([samples.study_started(), samples.misheard(1), samples.pruned(2)]))
    assert f'! trial 1 0.900 sick 1 min 12 s {samples.MISHEARD}; heard "{samples.MUMBLED["heard"]}"' in output
    assert f"⊘ trial 2 0.900 pruned 1 min 12 s {samples.REASON}" in output
    assert output.count("heard") == 2, "once in the reason and once in the quotation of trial 1"
    unheard = samples.trial_ended(3, spoken={"failures": 0.03})
    assert "1 min 12 s diagonality 0.81, reading 0.89, faults 3%" in unwrapped(show([samples.study_started(), unheard]))


@pytest.mark.parametrize("show", [lines, display])
def test_a_study_in_which_nobody_aligned_says_so_on_its_last_page(show) -> None:
    sentence = "none of 3 trials has aligned: raise budget.kframes"
    assert sentence in unwrapped(show([samples.study_started(), samples.study_ended(unaligned=sentence)]))
    assert "aligned" not in unwrapped(show([samples.study_started(), samples.study_ended()])).replace("misses", "")


@pytest.mark.parametrize("show", [lines, display])
def test_a_study_that_ended_before_its_first_trial_still_names_the_next_commands(show) -> None:
    ended = samples.study_ended(why="interrupted", finished=0, trials=(), importances={}, saved_kframes={})
    text = show([samples.study_started(), ended])
    assert "interrupted: 0 of 5 trials" in text
    assert ended.next_commands[0] in text
    assert "best trials" not in text


@pytest.mark.parametrize("show", [lines, display])
def test_brackets_and_line_breaks_of_a_message_are_shown_as_text(show) -> None:
    failed = samples.trial_ended(state="FAIL", value=None, reason="RuntimeError: size [3, 4]\n  not [/4]", last=None)
    assert "RuntimeError: size [3, 4] not [/4]" in unwrapped(show([samples.study_started(), failed]))


@pytest.mark.parametrize("make", [PlainLines, lambda stream: LiveDisplay(Console(file=stream, force_terminal=True, width=60))])
def test_a_terminal_without_unicode_gets_marks_that_it_can_show(make, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TERM", "xterm")
    raw = io.BytesIO()
    stream = io.TextIOWrapper(raw, encoding="ascii")
    console(True, stream)  # sets how the stream treats letters that it lacks
    sink = make(stream)
    for event in [samples.study_started(notes=("корпус: 12 мин",)), *samples.events()[1:]]:
        sink.emit(event)
    sink.close()
    stream.flush()
    text = colourless(raw.getvalue().decode("ascii"))
    assert "+ trial 0" in text
    assert "####" in text
