"""All datasets of a run taken together: means over them, as collections of test sets report, and tests of these."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from statistics import fmean
from typing import NamedTuple

from harness.significance import compare
from reports import growth, marks, summary, tables, units
from reports.load import ALL, FAMILIES, Comparison, Report, Row, Score, Section
from reports.markup import Cell, Line, Table
from reports.queries import averages
from reports.units import label

SEED = 0
"""Of the tests; values of several seeds are averaged first."""

ByQuery = Mapping[str, Mapping[str, float]]
"""measure -> qid -> value."""


class Chapter(NamedTuple):
    """What the page shows of all datasets; `section` holds the means, as if they were those of one dataset."""

    section: Section
    sentences: tuple[str, ...]
    tables: dict[str, Table]


def chapter(report: Report) -> Chapter | None:
    """Build the tables of all datasets, or None where there are none to take together.

    A figure is the mean of those of the datasets, however many queries each has. The tests are of differences of these
    means; a query that stands in several datasets counts as one observation. Left out of the means is a system that
    lacks a dataset, and of the tests one that was measured on other queries than the rest.

    Nothing is taken together where fewer than two datasets have scores, where data of other runs differ (a section with
    a warning), and where all are one collection in several sizes, which `growth` shows.
    """
    parts = [section for section in report.sections if section.ranked() and not section.warning]
    collections = growth.find(report)
    if len(parts) < 2 or any(len(found.sizes) == len(parts) for found in collections):
        return None
    rows = _rows(parts, report.measures)
    if len([row for row in rows if row.scores and not row.bracket]) < 2:
        return None
    name = f"the average of {len(parts)} datasets"
    section = Section(name, "all-datasets", {}, rows, _compare(parts, rows), report.primary)
    built = {"quality": _quality(report, section, parts)}
    for kind, measures in (("significance", (report.primary,)), ("significance-all", report.measures)):
        if section.comparisons:
            found = tables.significance(section, measures, everything=kind != "significance")
            built[kind] = replace(found, notes=_notes(report, section))
    return Chapter(section, summary.together(section), built)


def _rows(parts: Sequence[Section], measures: Sequence[str]) -> tuple[Row, ...]:
    """Make one row of each system; without scores where a dataset lacks one."""
    known = {row.system: row for part in reversed(parts) for row in part.rows}
    names = dict.fromkeys(row.system for part in parts for row in part.rows)
    place = {name: i for i, name in enumerate(FAMILIES)}
    rows = []
    for name in sorted(names, key=lambda n: (place.get(known[n].family, len(place)), known[n].family)):
        scores = {}
        for measure in measures:
            own = [score for part in parts if (row := _row(part, name)) and (score := row.score(measure))]
            if len(own) == len(parts):
                scores[measure] = Score(fmean(s.value for s in own), None, None, sum(s.n for s in own), None)
        rows.append(Row(name, known[name].registered, known[name].family, (), {ALL: scores} if scores else {}))
    return tuple(rows)


def _row(section: Section, system: str) -> Row | None:
    return next((row for row in section.rows if row.system == system), None)


def _compare(parts: Sequence[Section], rows: Sequence[Row]) -> tuple[Comparison, ...]:
    """Test the means; a query's values, weighted as the mean over datasets weights them, are one observation."""
    kept: dict[str, list[ByQuery]] = {}
    for row in rows:
        own: list[ByQuery] = [averages(one) for part in parts if row.scores and (one := _row(part, row.system))]
        if len(own) == len(parts) and all(own):
            kept[row.system] = own
    first = next(iter(kept.values()), [])
    same = {system: own for system, own in kept.items() if list(map(_queries, own)) == list(map(_queries, first))}
    values = {system: _observations(own) for system, own in same.items()}
    found = compare(values, {row.system: row.family for row in rows}, dataset="", split="", seed=SEED)
    return tuple(
        Comparison(r["system"], r["baseline"], r["measure"], r["difference"], r["p"], r["p_holm"], r["n"])
        for r in found
    )


def _queries(values: ByQuery) -> dict[str, frozenset[str]]:
    return {measure: frozenset(by_qid) for measure, by_qid in values.items()}


def _observations(parts: Sequence[ByQuery]) -> dict[str, dict[str, float]]:
    """Return measure -> qid -> value; the mean of these is the mean over the parts of the parts' means.

    >>> _observations([{"RR": {"a": 1.0, "b": 0.0}}, {"RR": {"b": 0.5}}])
    {'RR': {'a': 0.5, 'b': 0.5}}
    """
    shared = [measure for measure in parts[0] if all(part.get(measure) for part in parts)]
    found: dict[str, dict[str, float]] = {}
    for measure in shared:
        qids = dict.fromkeys(qid for part in parts for qid in part[measure])
        own = dict.fromkeys(qids, 0.0)
        for part in parts:
            weight = len(qids) / (len(parts) * len(part[measure]))
            for qid, value in part[measure].items():
                own[qid] += weight * value
        found[measure] = own
    return found


def _quality(report: Report, section: Section, parts: Sequence[Section]) -> Table:
    """Build the table: the primary measure of each dataset, then the mean of every measure."""
    columns = [part.ranked() for part in parts]
    best = [max(s.value for row in ranked if (s := row.score(report.primary))) for ranked in columns]
    means = {m: max((s.value for r in section.ranked(m) if (s := r.score(m))), default=None) for m in report.measures}
    lines = []
    for row in section.rows:
        cells = [Cell(row.system)]
        for part, highest in zip(parts, best, strict=True):
            own = _row(part, row.system)
            cells.append(_figure(own.score(report.primary) if own else None, highest, row, own.folder if own else ""))
        for measure in report.measures:
            found = _figure(row.score(measure), means[measure], row, "")
            cells.append(
                replace(found, mark=marks.against(section, row, section.reference(measure), measure))
                if row.score(measure)
                else found
            )
        lines.append(Line(row.family, tuple(cells), muted=row.bracket))
    heads = ("System", *(f"{part.dataset}, {label(report.primary)}" for part in parts))
    heads += tuple(f"Mean {label(measure)}" for measure in report.measures)
    counted = ", ".join(f"{part.dataset} {units.count(_asked(part))}" for part in parts)
    caption = (
        f"All {len(parts)} datasets: {label(report.primary)} on each, and the means over them, in which each dataset "
        f"counts alike, however many queries it has ({counted}). Bold: best of its column; oracle and random only "
        f"bound the scores. {marks.LEGEND}"
    )
    return Table("quality-all-datasets", caption, heads, tuple(lines), _lacking(section))


def _asked(section: Section) -> int:
    return max(score.n for row in section.ranked() if (score := row.score(section.primary)))


def _figure(score: Score | None, best: float | None, row: Row, link: str) -> Cell:
    if score is None:
        return Cell()
    bold = not row.bracket and best is not None and score.value >= best
    return Cell(units.score(score.value), bold=bold, raw=score.value, link=link)


def _lacking(section: Section) -> tuple[str, ...]:
    names = [row.system for row in section.rows if not row.scores]
    return (f"Without a result on every dataset, and so without a mean: {', '.join(names)}.",) if names else ()


def _notes(report: Report, section: Section) -> tuple[str, ...]:
    said = ["Difference: of the means over datasets. A query that several datasets have is one observation."]
    if report.most_seeds > 1:
        said.append("Several seeds: values are averaged over them query by query, then tested once.")
    tested = {name for c in section.comparisons for name in (c.system, c.baseline)}
    if other := [r.system for r in section.rows if r.scores and not r.bracket and r.system not in tested]:
        said.append(f"Not tested, since not all was kept query by query, or of the same queries: {', '.join(other)}.")
    return tuple(said)
