"""The reporter's texts in the language of its reader.

Sentences that the study wrote, such as why a trial was pruned, stay as they are in every language.
"""

from html import escape
from typing import Any

from objective.display.formatting import duration
from objective.search.repair import remedy
from objective.telegram import english, russian

LANGUAGES = {"en": english.TEXTS, "ru": russian.TEXTS}


class Translator:
    """The texts of one language, as HTML: `translate("rank", rank=2, count=13)` escapes what comes from outside."""

    def __init__(self, language: str) -> None:
        self._texts = LANGUAGES[language]

    def __call__(self, key: str, **values: Any) -> str:
        return self._texts[key].format(**{name: _formattable(value) for name, value in values.items()})

    def duration(self, seconds: float) -> str:
        return " ".join(self._texts.get(f"unit_{part}", part) for part in duration(seconds).split())

    def advice(self, rule: str) -> str:
        """Return what to do about `rule`, which pruned a trial, or about a target of that name, which a trial missed."""
        return self(f"advice_{remedy(rule).advice}")

    def stop_reason(self, reason: str) -> str:
        """Return why a study stopped: translated where the reason is a known word, else the sentence itself."""
        return self._texts.get(f"stop_{reason}") or escape(reason, quote=False)


class Count(int):
    """A number that also picks the form of its noun: "{n} {n:trial|trials}", or three forms for a Slavic language."""

    def __format__(self, forms: str) -> str:
        if not forms:
            return str(int(self))
        choices = forms.split("|")
        return choices[_slavic_plural(self) if len(choices) == 3 else int(self != 1)]


def _slavic_plural(count: int) -> int:
    """Return 0 as for 1 and 21, 1 as for 2 to 4 and 22, 2 as for 0, 5 and 11 to 14."""
    if count % 10 == 1 and count % 100 != 11:
        return 0
    return 1 if count % 10 in (2, 3, 4) and count % 100 not in (12, 13, 14) else 2


def _formattable(value: Any) -> Any:
    return Count(value) if isinstance(value, int) else escape(str(value), quote=False)
