"""How well systems answer in words (Table 5, Tang et al. 2024): one table."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from reports import marks, units
from reports.markup import Cell, Line, Table

if TYPE_CHECKING:
    from harness.store import AnswersRecord
    from reports.load import Row, Section

SOURCE = "as in Table 5, Tang et al. 2024"
MEASURES = {"exact_match": "Exact Match", "f1": "F1"}
"""Measure in answers.json -> how people read it."""
_UNTESTED = f"{marks.REFERENCE} best baseline of its column; differences from it were not tested here."


@dataclass(frozen=True)
class Share:
    """A mean over queries, 0 to 1, and its 95 % bounds; None for a single query."""

    value: float
    low: float | None
    high: float | None


@dataclass(frozen=True)
class Answers:
    """How one system answered `n` queries, asked one at a time; `shares` by measure, those of `MEASURES`."""

    n: int
    shares: Mapping[str, Share]
    gold_passage: float
    refused: float
    p50_ms: float
    p95_ms: float
    rss_peak_bytes: float


def read(record: AnswersRecord | None) -> Answers | None:
    """Take in answers.json; KeyError, TypeError or ValueError where it is not as it should be."""
    if record is None:
        return None
    found: Mapping[str, Any] = {**record}
    return Answers(
        int(record["n"]),
        {name: Share(float(found[name]), found.get(f"{name}_low"), found.get(f"{name}_high")) for name in MEASURES},
        float(record["gold_passage"]),
        float(record["refused"]),
        float(record["latency_ms"]["p50"]),
        float(record["latency_ms"]["p95"]),
        float(record["rss_peak_bytes"]),
    )


def of(row: Row) -> Answers | None:
    """Return how a system answers, on the seed this was measured on; None where nobody measured it."""
    return next((cell.answers for cell in row.cells if cell.answers), None)


def table(section: Section) -> Table:
    """Build the table of every system that was asked."""
    answered = [(row, answers) for row in section.rows if (answers := of(row))]
    best = {name: max(answers.shares[name].value for _, answers in answered) for name in MEASURES}
    lines = [
        Line(row.family, (Cell(row.system, link=row.folder), *_cells(section, row, answers, best)))
        for row, answers in answered
    ]
    heads = ("System", *MEASURES.values(), "Gold passage", "Refused", "Latency p50", "p95", "Peak RSS", "Queries")
    caption = (
        f"Answers on {section.dataset}, {SOURCE}: means over the first queries that have reference answers, "
        "95\u202f% intervals below. Gold passage: share of the answers read from a relevant passage. "
        "Latency: search and answer, one query at a time. Bold: best of its column."
        f" {marks.LEGEND if section.answering else _UNTESTED}"
    )
    return Table(f"answers-{section.slug}", caption, heads, tuple(lines), _notes(section))


def _cells(section: Section, row: Row, answers: Answers, best: Mapping[str, float]) -> Iterator[Cell]:
    for name, share in answers.shares.items():
        small = "" if share.low is None or share.high is None else f"[{share.low:.3f}, {share.high:.3f}]"
        mark = marks.against(section, row, _reference(section, name), name)
        bold = share.value >= best[name]
        yield Cell(units.score(share.value), small, mark, bold, raw=share.value, low=share.low, high=share.high)
    yield Cell(units.score(answers.gold_passage), raw=answers.gold_passage)
    yield Cell(units.score(answers.refused), raw=answers.refused)
    yield Cell(units.milliseconds(answers.p50_ms), raw=answers.p50_ms)
    yield Cell(units.milliseconds(answers.p95_ms), raw=answers.p95_ms)
    yield Cell(units.size(answers.rss_peak_bytes), raw=answers.rss_peak_bytes)
    yield Cell(units.count(answers.n), raw=answers.n)


def _reference(section: Section, name: str) -> Row | None:
    """Return the baseline that answers best, the first of equal ones, as the tests have it."""
    baselines = [(answers.shares[name].value, row) for row in section.rows if row.baseline and (answers := of(row))]
    return max(baselines, key=lambda pair: pair[0], default=(0.0, None))[1]


def _notes(section: Section) -> tuple[str, ...]:
    notes = ["Peak RSS counts the whole process, which asks one system after the other."]
    if any(len(row.cells) > 1 for row in section.rows if of(row)):
        notes.append("Measured on the first seed that is done.")
    if len({answers.n for row in section.rows if (answers := of(row))}) > 1:
        notes.append("Systems that were asked other queries are not compared: measure them in one call.")
    return tuple(notes)
