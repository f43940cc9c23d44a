"""English numbers are read as nemo-text-processing reads them, where both say the same things.

Skipped without it and without a folder for its grammars in NEMO_GRAMMARS: compiling them takes ten minutes of a core once.
"""

import os
import random
from typing import Any

import pytest

from tests.model.text.readings import heard, read

FOLDER = os.environ.get("NEMO_GRAMMARS")
pytestmark = [pytest.mark.slow, pytest.mark.skipif(not FOLDER, reason="no folder NEMO_GRAMMARS for nemo-text-processing")]
DRAW = random.Random(0)
KINDS = {
    "whole": lambda: f"They saw {DRAW.randrange(10**6):,} birds.",
    "decimal": lambda: f"It was {DRAW.randrange(999)}.{DRAW.randrange(10, 99)} then.",
    "ordinal": lambda: f"The {DRAW.randrange(2, 99) * 10 + 4}th time.",
    "percent": lambda: f"About {DRAW.randrange(2, 100)}% came.",
    "money": lambda: f"It cost ${DRAW.randrange(2, 10**5):,}.{DRAW.randrange(11, 99)} then.",
    "date": lambda: (
        f"We met on {DRAW.choice(['May', 'July', 'October'])} {DRAW.randrange(1, 29)}, {DRAW.randrange(1911, 1999)}."
    ),
    "weight": lambda: f"It weighs {DRAW.randrange(2, 1000)} kg.",
}


@pytest.fixture(scope="module")
def oracle() -> Any:
    module = pytest.importorskip("nemo_text_processing.text_normalization.normalize")
    return module.Normalizer(input_case="cased", lang="en", cache_dir=FOLDER)


@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize("kind", KINDS)
def test_numbers_are_read_as_the_oracle_reads_them(kind: str, oracle: Any) -> None:
    for text in [KINDS[kind]() for _ in range(20)]:
        said = [{"o": "oh"}.get(word, word) for word in heard(oracle.normalize(text)) if word != "and"]
        assert heard(read(text, "en")) == said, text
