"""What a gate says about each figure, and about a run as a whole."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from enum import StrEnum
from typing import Literal


class Verdict(StrEnum):
    """OK: nothing to see. WARN: look at it. FAIL: the gate stays shut."""

    OK = "OK"
    WARN = "WARN"
    FAIL = "FAIL"


@dataclass(frozen=True)
class Row:
    """The verdict on one figure, or on something that cannot be compared.

    dataset, system: empty where the verdict is about the whole run, or the whole dataset.
    what: a measure, a cost ("latency", "index"), or what is wrong ("cell", "checksum").
    before, now: the figures of the baseline and of the run, as `unit` says: a score is a mean over queries, a ratio is
    to the reference system. p: one-sided, corrected for the number of comparisons; absent where nothing was tested.
    """

    dataset: str
    system: str
    what: str
    verdict: Verdict
    reason: str
    before: float | None = None
    now: float | None = None
    p: float | None = None
    unit: Literal["", "score", "ratio", "bytes"] = ""


@dataclass(frozen=True)
class Outcome:
    """Every verdict on a run, and what else a reader should know."""

    rows: tuple[Row, ...]
    notes: tuple[str, ...]

    @property
    def passed(self) -> bool:
        """Whether nothing fails; warnings pass."""
        return not self.having(Verdict.FAIL)

    def having(self, verdict: Verdict) -> list[Row]:
        """Return the rows with a verdict."""
        return [row for row in self.rows if row.verdict is verdict]

    def count(self) -> str:
        """Count the verdicts, for people.

        >>> Outcome((), ()).count()
        '0 OK, 0 WARN, 0 FAIL'
        """
        return ", ".join(f"{len(self.having(verdict))} {verdict}" for verdict in Verdict)


def failure(dataset: str, system: str, what: str, reason: str) -> Row:
    """Build the verdict on something that is missing or cannot be compared."""
    return Row(dataset, system, what, Verdict.FAIL, reason)


def sentence(row: Row) -> str:
    """Say a verdict in one line.

    >>> sentence(failure("cran", "bm25", "cell", "failed: out of memory"))
    'cran bm25 cell: failed: out of memory'
    """
    return f"{' '.join(part for part in (row.dataset, row.system, row.what) if part)}: {row.reason}"


def worst(rows: Sequence[Row]) -> Verdict:
    """Return the gravest verdict; OK for none."""
    order = list(Verdict)
    return max((row.verdict for row in rows), key=order.index, default=Verdict.OK)
