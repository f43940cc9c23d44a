"""Telegram's way to count text, and the small drawings."""

import re
from html import escape

from hypothesis import given
from hypothesis import strategies as st

from objective.telegram.markup import bar, cut, plain, sparkline, units

letters = st.text(st.sampled_from("ab <>&;ж🚩é\n"), max_size=40)


def test_a_character_outside_the_basic_plane_counts_twice_and_a_tag_not_at_all() -> None:
    assert units("<b>ж🚩</b> &lt;&amp;") == 6
    assert plain("<b>ж🚩</b> &lt;&amp;") == "ж🚩 <&"


@given(letters, letters, letters, st.integers(1, 60))
def test_cut_html_is_well_formed_and_within_the_limit(one: str, two: str, three: str, limit: int) -> None:
    full = f"<b>{escape(one, quote=False)}<i>{escape(two, quote=False)}</i></b>{escape(three, quote=False)}"
    part = cut(full, limit)
    assert units(part) <= limit
    tags = re.findall("</?[bi]>", part)
    assert tags == ["<b>", "<i>", "</i>", "</b>"] or tags == ["<b>", "</b>"] or not tags
    if units(full) <= limit:
        assert part == full
    else:
        assert plain(part).endswith("…")
        assert plain(full).startswith(plain(part)[:-1])
        assert units(part) >= limit - 1


@given(letters)
def test_escaped_text_is_read_as_it_was(text: str) -> None:
    assert plain(escape(text, quote=False)) == text


def test_a_bar_is_as_full_as_its_share_and_never_longer() -> None:
    assert bar(0.3) == "▰▰▰▱▱▱▱▱▱▱"
    assert bar(1.7) == "▰" * 10
    assert bar(-0.1) == "▱" * 10


def test_a_sparkline_shows_orders_of_magnitude_and_missing_values() -> None:
    assert sparkline([0.01, 1.0, 100.0, None]) == "▁▄█·"
    assert sparkline([3.0, 3.0]) == "▄▄"
    assert sparkline([None]) == sparkline([]) == ""
