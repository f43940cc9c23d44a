"""What is wrong with a corpus: one Problem a line, and the error that shows them as a table."""

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass

from model.errors import BadInput

ROWS_SHOWN = 20  # lines of a table; the counts above it are complete


@dataclass(frozen=True, slots=True)
class Problem:
    """A line that was left out."""

    line: int  # of the list file, from 1
    id: str  # "" where the line has none that can be read
    reason: str  # the kind of fault, by which problems are counted: "no sound"
    detail: str = ""  # this line's own numbers and the way out

    def __str__(self) -> str:
        name = f" ({self.id})" if self.id else ""
        return f"line {self.line}{name}: {self.reason}" + (f": {self.detail}" if self.detail else "")


def counted(problems: Sequence[Problem]) -> str:
    """`12 no sound, 3 empty text`, the most frequent first."""
    return ", ".join(f"{count} {reason}" for reason, count in Counter(problem.reason for problem in problems).most_common())


class CorpusError(BadInput):
    """The corpus cannot be used. The message gives the rule, then the problems by reason, then the first of them."""

    def __init__(self, rule: str, problems: Sequence[Problem] = ()) -> None:
        self.problems = tuple(problems)
        rows = [rule]
        if problems:
            rows.append(f"problems: {counted(problems)}")
            rows += (f"  {problem}" for problem in problems[:ROWS_SHOWN])
        if len(problems) > ROWS_SHOWN:
            rows.append(f"  and {len(problems) - ROWS_SHOWN} more")
        super().__init__("\n".join(rows))
