"""Quality and latency as the corpus grows: datasets of a run that are one collection in several sizes (a/500, a/1k)."""

from __future__ import annotations

import re
from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

from harness.store import slug
from reports import plots, units
from reports.load import Report, Section, number
from reports.markup import Cell, Line, Table
from reports.plots import Drawing, Point
from reports.units import label

_SIZE = re.compile(r"\d+[kKM]?")


class Size(NamedTuple):
    """One size of a collection."""

    passages: int
    section: Section


class Growth(NamedTuple):
    """A collection in several sizes, smallest first, and the systems that are no brackets, name -> family."""

    name: str
    slug: str
    sizes: tuple[Size, ...]
    systems: dict[str, str]
    measure: str


class Chapter(NamedTuple):
    """What the page shows of one collection."""

    name: str
    table: Table
    drawing: Drawing


def chapters(report: Report, folder: Path) -> list[Chapter]:
    """Build the table and the figure of every collection a run has in several sizes."""
    return [Chapter(found.name, _table(found), _draw(found, folder)) for found in find(report)]


def find(report: Report) -> list[Growth]:
    """Find the collections: datasets whose names differ in a size behind the last slash ("vital-articles/1k")."""
    sizes: dict[str, list[Size]] = {}
    for section in report.sections:
        (base, _, size), passages = section.dataset.rpartition("/"), number(section.card.get("passages"))
        if base and _SIZE.fullmatch(size) and passages and not section.warning:
            sizes.setdefault(base, []).append(Size(int(passages), section))
    found = (_growth(base, sorted(of_base, key=lambda size: size.passages)) for base, of_base in sizes.items())
    return [growth for growth in found if growth is not None]


def _growth(base: str, sizes: Sequence[Size]) -> Growth | None:
    measure = sizes[0].section.primary
    systems: dict[str, str] = {}
    for size in sizes:
        for row in size.section.rows:
            grown = sum(1 for s in sizes if (own := s.section.row(row.system)) and own.score(measure))
            if not row.bracket and grown > 1:
                systems.setdefault(row.system, row.family)
    distinct = {size.passages for size in sizes}
    if not systems or len(distinct) < len(sizes):
        return None
    return Growth(base, slug(base), tuple(sizes), systems, measure)


def _scores(growth: Growth, system: str) -> list[Point]:
    found = ((size, size.section.row(system)) for size in growth.sizes)
    return [(size.passages, score.value) for size, row in found if row and (score := row.score(growth.measure))]


def _latencies(growth: Growth, system: str) -> list[Point]:
    found = ((size, size.section.row(system)) for size in growth.sizes)
    return [(size.passages, ms) for size, row in found if row and (ms := row.cost("latency_ms.p50"))]


def _table(growth: Growth) -> Table:
    heads = ["System"]
    for size in growth.sizes:
        heads += [f"{label(growth.measure)}, {units.count(size.passages)} passages", "Latency p50"]
    lines = []
    for system, family in growth.systems.items():
        scores, latencies = dict(_scores(growth, system)), dict(_latencies(growth, system))
        cells = [Cell(system)]
        for size in growth.sizes:
            score, ms = scores.get(size.passages), latencies.get(size.passages)
            # Each size is a dataset of its own, so a line has no folder of its own: its figures have.
            row = size.section.row(system)
            link = row.folder if row else ""
            cells += [_figure(units.score(score), score, link), _figure(units.milliseconds(ms), ms, link)]
        lines.append(Line(family, tuple(cells)))
    caption = f"{growth.name} in {len(growth.sizes)} sizes. {_own_queries(growth)}"
    return Table(f"growth-{growth.slug}", caption, tuple(heads), tuple(lines))


def _figure(text: str, value: float | None, link: str) -> Cell:
    return Cell(text, raw=value, link="" if value is None else link)


def _own_queries(growth: Growth) -> str:
    counts = []
    for size in growth.sizes:
        n = next((s.n for row in size.section.rows if (s := row.score(growth.measure))), None)
        counts.append(f"{units.count(size.passages)} passages: {units.count(n)}")
    return f"Every size has queries of its own ({'; '.join(counts)}), so small steps between sizes mean little."


def _draw(growth: Growth, folder: Path) -> Drawing:
    file, names = f"growth-{growth.slug}", list(growth.systems)
    looks = plots.apart(list(growth.systems.values()))
    timed = any(_latencies(growth, system) for system in names)
    with plots.canvas(2.5 + (2.1 if timed else 0) + plots.legend_in(names)) as figure:
        panels = list(figure.subplots(2 if timed else 1, 1, sharex=True, squeeze=False)[:, 0])
        for system, look in zip(names, looks, strict=True):
            panels[0].plot(*zip(*_scores(growth, system), strict=True), **look)
            if timed and (points := _latencies(growth, system)):
                panels[1].plot(*zip(*points, strict=True), **look)
        plots.log_axis(panels[-1], [size.passages for size in growth.sizes], units.count)
        passages = [size.passages for size in growth.sizes]
        panels[-1].set_xlim(passages[0] / 1.3, passages[-1] * 1.3)
        panels[-1].set_xticks(passages, [units.count(n) for n in passages])
        panels[0].set(ylabel=label(growth.measure), ylim=(0, None))
        panels[-1].set(xlabel="Passages in the corpus (log scale)")
        if timed:
            panels[1].set_yscale("log")
            panels[1].set(ylabel="Median latency (log scale)")
            panels[1].yaxis.set_major_formatter(lambda y, _: units.tick(units.milliseconds(y)))
        plots.legend(figure, names, looks)
        svg = plots.save(figure, folder, file)
    caption = f"{label(growth.measure)}{' and median latency of a query' if timed else ''} as {growth.name} grows."
    return Drawing(file, "Corpus size", f"{caption} {_own_queries(growth)}", _alt(growth), svg)


def _alt(growth: Growth) -> str:
    said = []
    for system in growth.systems:
        points = (f"{units.count(n)} passages {units.score(value)}" for n, value in _scores(growth, system))
        said.append(f"{system}: {', '.join(points)}")
    return f"{label(growth.measure)} by corpus size. {'; '.join(said)}."
