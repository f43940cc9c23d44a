"""What a voice said as text: letter for letter in Markdown, short in a line, and silent about what is not known."""

import pytest

from objective.display.formatting import percent
from objective.display.heard import BRIEF, described, distance, errors, faults, heard, sentences, spoken_of
from tests.objective.samples import MUMBLED, SPOKEN

UNHEARD = SPOKEN | dict.fromkeys(("errors", "recorded_errors", "heard", "worst_heard", "worst_errors"))


@pytest.mark.parametrize(
    ("value", "text"),
    [
        (None, "-"),
        (0.0, "0%"),
        (0.002, "0.2%"),
        (0.0413, "4.1%"),
        (0.0994, "9.9%"),
        (0.0996, "10%"),
        (0.73, "73%"),
        (1.0, "100%"),
    ],
)
def test_a_percentage_has_two_digits_and_no_false_zero(value: float | None, text: str) -> None:
    assert percent(value) == text


def test_the_figures_of_a_trial_are_those_of_its_event() -> None:
    attributes = {f"free_{name}": value for name, value in SPOKEN.items()}
    assert spoken_of(attributes | {"diagonality": 0.9}) == SPOKEN


def test_said_and_heard_stand_in_a_table_above_errors_and_faults() -> None:
    assert described(SPOKEN).splitlines() == [
        "| sentence | said | heard |",
        "|---|---|---|",
        "| middle | tom buys six blue houses on monday. | tom buys six blue houses on monday |",
        "| worst, 25% wrong | nine old men see four red boats. | nine men see four red bots |",
        "",
        "4.1% of letters heard wrong (recordings 0.2%); faults in 6.2% of 32 sentences: 2 skipped, 1 mumbled; "
        "length 1.02 of the recordings'; silence 6% (recordings 5%)",
    ]
    assert "| (nothing) |" in described(MUMBLED)


def test_what_a_text_holds_is_no_markdown() -> None:
    nasty = SPOKEN | {"text": "a|b *c* <d> & `e`\n_f_"}
    row = described(nasty).splitlines()[2]
    assert row.startswith(r"| middle | a\|b \*c\* &lt;d&gt; &amp; \`e\` \_f\_ | tom")


def test_without_a_listener_only_what_was_said_is_known() -> None:
    assert errors(UNHEARD) == heard(UNHEARD) == distance(UNHEARD, {"understood": 0.2}) == ""
    assert "| middle | tom buys six blue houses on monday. | - |" in described(UNHEARD)
    assert faults(UNHEARD).startswith("faults in 6.2% of 32 sentences")


def test_a_voice_without_faults_has_none_and_one_sentence_is_no_plural() -> None:
    flawless = SPOKEN | {"failures": 0.0, "faults": {}}
    assert faults(flawless) == "no faults in 32 sentences"
    assert faults(flawless | {"sentences": 1}) == "no faults in 1 sentence"


def test_a_trial_that_was_not_judged_says_nothing() -> None:
    assert described({}) == errors({}) == faults({}) == heard({}) == distance({}, {}) == ""
    assert sentences({}) == []


def test_one_sentence_is_shown_once() -> None:
    one = SPOKEN | {"worst_text": SPOKEN["text"], "worst_heard": SPOKEN["heard"]}
    assert [sentence.which for sentence in sentences(one)] == ["middle"]


def test_more_letters_than_were_said_are_all_wrong() -> None:
    assert sentences(SPOKEN | {"worst_errors": 1.4})[1].title == "worst, 100% wrong"


def test_the_distance_is_that_to_the_target() -> None:
    assert distance(MUMBLED, {"understood": 0.628}) == "73% of letters heard wrong (recordings 0.2%), target at most 10%"
    assert distance(MUMBLED, {"understood": -0.1}) == distance(MUMBLED, {}) == errors(MUMBLED)


def test_a_long_transcript_is_short_in_a_line_and_none_is_named() -> None:
    assert heard(SPOKEN | {"heard": "a" * 200}) == f'heard "{"a" * BRIEF}..."'
    assert heard(SPOKEN | {"heard": ""}) == "heard nothing"
