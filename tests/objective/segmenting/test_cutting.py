"""Cutting: in certain pauses only, within the lengths, at ends of sentences if possible."""

from objective.segmenting.checking import LEAST, MOST, error_of, level_of, torn
from objective.segmenting.cutting import MARGIN_S, Cut, Said, choose_cuts, ends
from objective.segmenting.matching import Block
from objective.segmenting.pauses import Span, stretches
from objective.segmenting.placing import by_times, doubtful

SPANS = [Span(3.0 * index, 3.0 * index + 2.5) for index in range(8)]  # pauses of 0.5 s


def cuts(certain: set[int], sentences: set[int] = frozenset(), longest_s: float = 12.0, spans: list[Span] = SPANS) -> list[Cut]:
    said = [Said(index, 2 * index, 2 * index + 1, index in certain) for index in range(len(spans))]
    return choose_cuts(said, spans, 1.0, longest_s, lambda unit: unit // 2 in sentences)


def test_each_part_is_in_one_cut_and_no_cut_is_too_long() -> None:
    found = cuts(set(range(8)))
    assert [span for cut in found for span in range(cut.first_span, cut.last_span + 1)] == list(range(8))
    assert [unit for cut in found for unit in range(cut.first_unit, cut.last_unit + 1)] == list(range(16))
    assert all(SPANS[cut.last_span].end_s - SPANS[cut.first_span].start_s <= 12 for cut in found)


def test_only_certain_pauses_are_cut() -> None:
    assert [cut.last_span for cut in cuts({2, 5, 7})] == [2, 5, 7]


def test_ends_of_sentences_are_preferred() -> None:
    assert [cut.last_span for cut in cuts(set(range(8)), {1, 4, 7})] == [1, 4, 7]


def test_what_cannot_be_cut_is_too_long_and_costs_no_more_than_itself() -> None:
    found = cuts({0, 6, 7}, longest_s=9.0)
    assert [(cut.first_span, cut.last_span) for cut in found] == [(0, 0), (1, 6), (7, 7)]


def test_a_long_pause_is_not_inside_a_cut() -> None:
    apart = [Span(0, 2), Span(2.3, 4), Span(7, 9), Span(9.3, 11)]
    assert [cut.last_span for cut in cuts({0, 1, 2, 3}, spans=apart)] == [1, 3]


def test_a_cut_ends_in_the_pauses_beside_it() -> None:
    at = ends(Cut(1, 1, 0, 0), [Span(0, 1), Span(1.2, 2), Span(5, 6)], 6.0)
    assert at.start_s == 1.1
    assert at.end_s == 2 + MARGIN_S
    assert ends(Cut(0, 0, 0, 0), [Span(0.1, 1)], 1.05) == Span(0.0, 1.05)


def test_a_word_that_reaches_over_a_pause_makes_it_uncertain() -> None:
    speech = [Span(0, 2), Span(2.5, 4)]
    window = Block(10, 12, 5, 6)
    clean = by_times(window, [Span(0, 1), Span(1, 2.05), Span(2.45, 4)], speech)
    assert clean == [Said(5, 10, 11, True), Said(6, 12, 12, True)]
    across = by_times(window, [Span(0, 1), Span(1, 2.8), Span(2.8, 4)], speech)
    assert not across[0].cut_behind


def test_stretches_hold_every_span_once() -> None:
    found = stretches([*SPANS, Span(30, 90)], 9.0)
    assert [index for stretch in found for index in stretch] == list(range(9))
    assert found[-1] == range(8, 9)
    assert all(SPANS[stretch[-1]].end_s - SPANS[stretch[0]].start_s <= 9 for stretch in found[:-1])


def test_errors_are_edits_per_letter() -> None:
    assert error_of("letters", "letters") == 0
    assert error_of("letters", "litter") == 2 / 7


def test_a_word_of_the_neighbour_is_seen_at_either_end() -> None:
    assert torn("beautifulforms", "beautifulforms") == ""
    assert "end" in torn("beautifulformswhich", "beautifulforms")
    assert "beginning" in torn("forms", "beautifulforms")
    assert torn("beautifulforms", "beautyfullforms") == ""


def test_the_level_follows_the_errors() -> None:
    good = [0.10, 0.12, 0.08, 0.15, 0.11, 0.09, 0.13]
    level = level_of([*good, 0.8])
    assert max(good) < level < 0.8
    assert level_of([0.0] * 20) == LEAST
    assert level_of([0.2, 0.9] * 10) == MOST
    assert level_of([]) == LEAST


def test_a_border_that_was_heard_elsewhere_is_doubtful() -> None:
    letters = ["true", "book", "the", "new", "art"]
    heard = ["truebook", "thenewart"]
    assert not doubtful(Said(0, 0, 1, True), Said(1, 2, 4, True), letters, heard)
    assert doubtful(Said(0, 0, 2, True), Said(1, 3, 4, True), letters, heard)
    assert doubtful(Said(0, 0, 0, True), Said(1, 1, 4, True), letters, heard)
    assert not doubtful(Said(0, 0, 1, True), Said(1, 2, 4, True), letters, ["trubook", "thnewat"])
