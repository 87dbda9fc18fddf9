"""All datasets of a run taken together: means over them, as collections of test sets report, and tests of these."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from statistics import fmean
from typing import Any, NamedTuple

from harness.significance import compare
from harness.store import CellFolder
from reports import growth, marks, summary, tables, units
from reports.load import ALL, EQUAL, Comparison, Report, Row, Score, Section, by_family, joined
from reports.markup import Cell, Line, Table
from reports.queries import Ledger
from reports.units import label

ByMeasure = Mapping[str, Sequence[tuple[str, float]]]
"""measure -> (query, value) pairs; queries may have one name."""


class Chapter(NamedTuple):
    """What the page shows of all datasets; `section` holds the means, as if they were those of one dataset."""

    section: Section
    sentences: tuple[str, ...]
    tables: dict[str, Table]


class Part(NamedTuple):
    """One dataset; `texts`: qid -> the question, where it is known."""

    section: Section
    texts: Mapping[str, str]

    def name(self, qid: str) -> str:
        """Name a query by its words or else by its dataset, so that what is the same in two datasets has one name."""
        return self.texts.get(qid) or f"{self.section.dataset} {qid}"


def chapter(report: Report, ledgers: Sequence[Ledger | None]) -> Chapter | None:
    """Build the tables of all datasets, or None where there are no two datasets or systems to take together.

    A figure is the mean of those of the datasets, however many queries each has. Tests are of differences of these
    means, seed by seed as those of one dataset are; a question that several datasets ask in the same words is one
    observation. A system that lacks a dataset has no mean.

    Args:
        report: of one run.
        ledgers: one of each of its sections, which know the words of the questions.
    """
    chosen, left_out = _choose(report)
    texts = {
        section.dataset: {} if ledger is None else {query.qid: query.text for query in ledger.queries if query.text}
        for section, ledger in zip(report.sections, ledgers, strict=True)
    }
    parts = [Part(section, texts[section.dataset]) for section in chosen]
    rows = _rows(parts, report.measures)
    if len(parts) < 2 or len([row for row in rows if row.score(report.primary) and not row.bracket]) < 2:
        return None
    name = f"the average of {len(parts)} datasets"
    section = Section(name, "together", {}, rows, _compare(report, parts, rows), report.primary)
    built = {"quality": _quality(report, section, parts, left_out)}
    for kind, measures in (("significance", (report.primary,)), ("significance-all", report.measures)):
        if section.comparisons:
            found = tables.significance(section, measures, everything=kind != "significance", what="this average")
            built[kind] = replace(found, slug=f"together-{kind}", notes=_notes(report))
    return Chapter(section, summary.together(section), built)


def _choose(report: Report) -> tuple[list[Section], list[str]]:
    """Return the datasets that count, and why each of the others does not."""
    left_out = [f"{s.dataset} (without scores)" for s in report.sections if not s.ranked()]
    scored = [s for s in report.sections if s.ranked()]
    for found in growth.find(report):
        *smaller, largest = [size.section for size in found.sizes if size.section.ranked()]
        left_out += [f"{s.dataset} (a smaller {largest.dataset})" for s in smaller]
        scored = [s for s in scored if s.dataset not in {small.dataset for small in smaller}]
    return scored, left_out


def _rows(parts: Sequence[Part], measures: Sequence[str]) -> tuple[Row, ...]:
    """Make one row of each system; without scores where a dataset lacks one."""
    known = {row.system: row for part in reversed(parts) for row in part.section.rows}
    names = dict.fromkeys(row.system for part in parts for row in part.section.rows)
    rows = []
    for name in names:
        scores = {}
        for measure in measures:
            own = [score for part in parts if (row := part.section.row(name)) and (score := row.score(measure))]
            if len(own) == len(parts):
                scores[measure] = Score(fmean(s.value for s in own), None, None, sum(s.n for s in own), None)
        rows.append(Row(name, known[name].registered, known[name].family, (), {ALL: scores} if scores else {}))
    return by_family(rows)


def _compare(report: Report, parts: Sequence[Part], rows: Sequence[Row]) -> tuple[Comparison, ...]:
    """Test the means, seed by seed."""
    families = {row.system: row.family for row in rows}
    found: list[Any] = []
    for seed in report.seeds:
        values = {row.system: own for row in rows if row.scores and (own := list(_values(parts, row.system, seed)))}
        whole = {system: own for system, own in values.items() if len(own) == len(parts)}
        counted = Counter(map(_asked, whole.values())).most_common(1)
        alike = {s: _observations(own) for s, own in whole.items() if counted and _asked(own) == counted[0][0]}
        found += compare(alike, families, dataset="", split="", seed=seed)
    return joined(found, len(report.seeds))


def _values(parts: Sequence[Part], system: str, seed: int) -> Iterator[ByMeasure]:
    """Read what is kept of each dataset query by query."""
    for part in parts:
        row = part.section.row(system)
        for cell in row.cells if row else ():
            if cell.seed == seed and cell.state == "done" and (cell.path / "per_query.parquet").is_file():
                kept = CellFolder(cell.path).per_query()
                yield {measure: [(part.name(qid), v) for qid, v in own.items()] for measure, own in kept.items()}


def _asked(parts: Sequence[ByMeasure]) -> tuple[frozenset[tuple[str, frozenset[str]]], ...]:
    """Say what was measured on which queries, for comparing."""
    return tuple(frozenset((measure, frozenset(dict(own))) for measure, own in part.items()) for part in parts)


def _observations(parts: Sequence[ByMeasure]) -> dict[str, dict[str, float]]:
    """Return measure -> query -> value; the mean of these is the mean over the parts of the parts' means.

    >>> _observations([{"RR": [("a", 1.0), ("b", 0.0)]}, {"RR": [("b", 0.5)]}])
    {'RR': {'a': 0.5, 'b': 0.5}}
    """
    shared = [measure for measure in parts[0] if all(part.get(measure) for part in parts)]
    found: dict[str, dict[str, float]] = {}
    for measure in shared:
        own = dict.fromkeys((query for part in parts for query, _ in part[measure]), 0.0)
        for part in parts:
            weight = len(own) / (len(parts) * len(part[measure]))
            for query, value in part[measure]:
                own[query] += weight * value
        found[measure] = own
    return found


def _quality(report: Report, section: Section, parts: Sequence[Part], left_out: Sequence[str]) -> Table:
    """Build the table: the primary measure of each dataset, then the mean of every measure."""
    columns = [*((part.section, report.primary) for part in parts), *((section, m) for m in report.measures)]
    lines = []
    for row in section.rows:
        cells = [_figure(of, measure, of.row(row.system)) for of, measure in columns]
        lines.append(Line(row.family, (Cell(row.system), *cells), muted=row.bracket))
    heads = [f"{part.section.dataset}, {label(report.primary)}" for part in parts]
    heads += [f"Mean {label(measure)}" for measure in report.measures]
    counts = (max(s.n for row in p.section.ranked() if (s := row.score(report.primary))) for p in parts)
    asked = ", ".join(f"{p.section.dataset} {units.count(n)}" for p, n in zip(parts, counts, strict=True))
    caption = (
        f"{len(parts)} datasets: {label(report.primary)} on each, and means over them, in which each dataset counts "
        f"alike, however many queries it has ({asked}). Bold: best of its column; oracle and random only bound the "
        f"scores. {marks.LEGEND}"
    )
    notes = [f"{part.section.dataset}: {note}" for part in parts for note in tables.partial(part.section)]
    notes += summary.without_mean(section)
    if left_out:
        notes.append(f"Left out: {', '.join(left_out)}.")
    return Table("together-quality", caption, ("System", *heads), tuple(lines), tuple(notes))


def _figure(section: Section, measure: str, row: Row | None) -> Cell:
    score = row.score(measure) if row else None
    if row is None or score is None:
        return Cell()
    best = max((s.value for r in section.ranked(measure) if (s := r.score(measure))), default=None)
    bold = not row.bracket and best is not None and best - score.value < EQUAL
    mark = marks.against(section, row, section.reference(measure), measure)
    return Cell(units.score(score.value), mark=mark, bold=bold, raw=score.value, link=row.folder)


def _notes(report: Report) -> tuple[str, ...]:
    said = ["Difference: of the means over datasets. A question that several datasets ask is one observation."]
    if len(report.seeds) > 1:
        said.append(tables.SEED_NOTE)
    return tuple(said)
