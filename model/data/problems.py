"""The problems of a corpus: a Problem for each line that was left out, and the error that lists them."""

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass

from model.errors import BadInput

ROWS_SHOWN = 20  # problems listed in an error; the counts above them are complete
ROWS_OF_ONE_CAUSE = 3  # problems listed where all have the same reason


@dataclass(frozen=True, slots=True)
class Problem:
    """A line of a list that was left out."""

    line: int  # in the list file, from 1
    id: str  # "" where the line has no readable one
    reason: str  # the kind of problem, by which problems are counted: "no sound"
    detail: str = ""  # the numbers of this line, and the way out
    list: str = ""  # the list file, where there are several

    def __str__(self) -> str:
        name = f" ({self.id})" if self.id else ""
        return f"{self.list and f'{self.list}, '}line {self.line}{name}: {self.reason}" + (
            f": {self.detail}" if self.detail else ""
        )


def counted(problems: Sequence[Problem]) -> str:
    """Count problems by reason, the most frequent first: `12 no sound, 3 empty text`."""
    return ", ".join(f"{count} {reason}" for reason, count in Counter(problem.reason for problem in problems).most_common())


class CorpusError(BadInput):
    """The corpus cannot be used. The message has the rule, then the problems counted by reason, then the first of them."""

    def __init__(self, rule: str, problems: Sequence[Problem] = ()) -> None:
        self.problems = tuple(problems)
        rows = [rule]
        if problems:
            rows.append(f"problems: {counted(problems)}")
            shown = ROWS_SHOWN if len({problem.reason for problem in problems}) > 1 else ROWS_OF_ONE_CAUSE
            rows += (f"  {problem}" for problem in problems[:shown])
            rows += [f"  and {len(problems) - shown} more"] if len(problems) > shown else []
        super().__init__("\n".join(rows))
