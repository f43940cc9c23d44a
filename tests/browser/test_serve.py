"""The page of a served voice, in a real browser."""

from pathlib import Path

import pytest

from objective.speech.server.api import Limits
from tests.browser.chromium import PROGRAM, Chromium
from tests.objective.speech.serving import served

pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(PROGRAM is None, reason="no browser on this machine: apt-get install chromium, or install Chrome"),
]


def test_a_typed_text_is_heard_and_a_mistake_is_shown(tmp_path: Path) -> None:
    with served(limits=Limits(most_characters=50)) as server, Chromium(tmp_path / "profile") as page:
        page.open(f"http://127.0.0.1:{server.port}/")
        page.until("document.getElementById('voice').innerText === 'tiny, en'", "the voice")
        page.until("document.getElementById('limit').innerText === 'at most 50 characters'", "the limit")
        assert page.js("document.querySelector('textarea').labels[0].innerText") == "Text"
        page.js("document.querySelector('textarea').value = 'Only one.'")
        page.press("Speak")
        page.until("document.querySelector('audio').readyState === 4 && !document.querySelector('audio').hidden", "a sound")
        assert page.js("document.querySelector('audio').duration > 0.05")
        page.js("document.querySelector('textarea').value = 'long '.repeat(11)")
        page.press("Speak")
        page.until(
            "document.querySelector('[role=alert]').innerText.startsWith('need a text of 50 characters')", "the sentence"
        )
        server.stop()
        page.press("Speak")
        page.until("document.querySelector('[role=alert]').innerText === 'the server does not answer'", "the sentence")
