"""Quality against latency as the beam widens (Table 9, Tang et al. 2024): one table, one figure."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

from reports import plots, units
from reports.markup import Cell, Line, Table
from reports.plots import Drawing, Point
from reports.units import label

if TYPE_CHECKING:
    from matplotlib.figure import Figure

    from harness.store import BeamRow
    from reports.load import Row, Section

SHOWN, BESIDE, RECIPROCAL = "Success@5", "Success@1", "RR@5"
SOURCE = "as in Table 9, Tang et al. 2024"
MEANT = "dsi's beam of identifiers and self-retrieval's beam of titles"
STROKES: dict[str, dict[str, Any]] = {
    SHOWN: {"linestyle": "-", "linewidth": 1.6},
    BESIDE: {"linestyle": "--", "linewidth": 0.9, "markersize": 4},
}
"""Measures that are drawn, and how."""

MOST_LABELS = 8
"""Points of a curve that get a marker with their beam size beside it."""

ROOM = 1.7
"""Free room on both sides of the points, as a factor of latency: wide enough for a label."""

FILLS = (None, "white", "black")
"""Fill of the markers of a family's first, second and third system; None: its colour."""

PIECES = 16
"""A slanting stroke is cut into so many, so that labels keep clear of the line and not of the box around it."""


@dataclass(frozen=True)
class Beam:
    """One beam size of one system, over `n` queries asked one at a time; `scores` by ir_measures name."""

    size: int
    n: int
    scores: dict[str, float]
    p50_ms: float
    p95_ms: float
    rss_peak_bytes: float


def read(rows: Sequence[BeamRow]) -> tuple[Beam, ...]:
    """Take in beams.json, narrowest beam first; KeyError, TypeError or ValueError where it is not as it should be."""
    found = (
        Beam(
            int(row["beam_size"]),
            int(row["n"]),
            {name: float(value) for name, value in row["measures"].items()},
            float(row["latency_ms"]["p50"]),
            float(row["latency_ms"]["p95"]),
            float(row["rss_peak_bytes"]),
        )
        for row in rows
    )
    return tuple(sorted(found, key=lambda beam: beam.size))


def of(row: Row) -> tuple[Beam, ...]:
    """Return how a system does with other beam sizes, on the first seed this was measured on."""
    return next((cell.beams for cell in row.cells if cell.beams), ())


def table(section: Section) -> Table:
    """Build the table of every system and beam size that was measured."""
    lines = [
        Line(row.family, (Cell(row.system, link=row.folder), *_cells(beam))) for row in section.rows for beam in of(row)
    ]
    heads = (
        "System",
        "Beam size",
        *map(label, (BESIDE, SHOWN, RECIPROCAL)),
        "Latency p50",
        "p95",
        "Peak RSS",
        "Queries",
    )
    caption = f"Beam sizes on {section.dataset}, {SOURCE}: {MEANT}. Latency: one query at a time."
    return Table(f"beams-{section.slug}", caption, heads, tuple(lines), _notes(section))


def _cells(beam: Beam) -> Iterator[Cell]:
    yield Cell(units.count(beam.size), raw=beam.size)
    for measure in (BESIDE, SHOWN, RECIPROCAL):
        value = beam.scores.get(measure)
        yield Cell(units.score(value), raw=value)
    yield Cell(units.milliseconds(beam.p50_ms), raw=beam.p50_ms)
    yield Cell(units.milliseconds(beam.p95_ms), raw=beam.p95_ms)
    yield Cell(units.size(beam.rss_peak_bytes), raw=beam.rss_peak_bytes)
    yield Cell(units.count(beam.n), raw=beam.n)


def _notes(section: Section) -> tuple[str, ...]:
    notes = ["Peak RSS counts the whole process, which searches one system after the other."]
    if any(len(row.cells) > 1 for row in section.rows if of(row)):
        notes.append("Measured on the first seed that is done.")
    return tuple(notes)


class _Curve(NamedTuple):
    """What is drawn of one system; `marker` as `Axes.plot` takes it."""

    system: str
    beams: list[Beam]
    marker: dict[str, Any]

    def points(self, measure: str) -> list[Point]:
        return [(beam.p50_ms, beam.scores[measure]) for beam in self.beams]

    @property
    def labelled(self) -> list[int]:
        """Positions of the first, the last, and evenly many between where there are more than `MOST_LABELS`."""
        last = len(self.beams) - 1
        step = -(-last // (MOST_LABELS - 1)) or 1
        return [i for i in range(last + 1) if i % step == 0 or i == last]


def draw(section: Section, folder: Path) -> Drawing | None:
    """Draw Hits@5 and, thinner, Hits@1 against the median latency: a line a system, a point a beam size."""
    curves = _curves(section)
    if not curves:
        return None
    slug = f"beams-{section.slug}"
    with plots.canvas(3.4 + 0.4 * len(curves)) as figure:
        axes = figure.subplots()
        x_ms = [x for curve in curves for x, _ in curve.points(SHOWN)]
        plots.log_axis(axes, x_ms, units.milliseconds)
        axes.set_xlim(min(x_ms) / ROOM, max(x_ms) * ROOM)
        for curve in curves:
            for measure, stroke in STROKES.items():
                points = curve.points(measure)
                axes.plot(*zip(*points, strict=True), markevery=curve.labelled, **curve.marker | stroke)
        axes.set(
            xlabel="Median latency of a query (log scale)", ylabel=f"{label(SHOWN)} (solid), {label(BESIDE)} (dashed)"
        )
        axes.margins(y=0.12)
        _legend(figure, curves)
        pieces = [piece for curve in curves for measure in STROKES for piece in _pieces(curve.points(measure))]
        named = [(curve.points(SHOWN)[i], str(curve.beams[i].size)) for curve in curves for i in curve.labelled]
        plots.label_points(axes, [at for at, _ in named], [size for _, size in named], pieces)
        svg = plots.save(figure, folder, slug)
    return Drawing(slug, "Beam size", _caption(section, curves), _alt(curves), svg)


def _curves(section: Section) -> list[_Curve]:
    """Collect what can be drawn on a log axis; systems of one family differ in how their markers are filled."""
    curves: list[_Curve] = []
    families: list[str] = []
    for row in section.rows:
        beams = [beam for beam in of(row) if STROKES.keys() <= beam.scores.keys() and beam.p50_ms > 0]
        if beams:
            fill = FILLS[families.count(row.family) % len(FILLS)]
            marker = plots.marker(row.family) | ({"markerfacecolor": fill} if fill else {})
            curves.append(_Curve(row.system, beams, marker))
            families.append(row.family)
    return curves


def _legend(figure: Figure, curves: Sequence[_Curve]) -> None:
    from matplotlib.lines import Line2D

    handles = [Line2D([], [], label=curve.system, **curve.marker) for curve in curves]
    figure.legend(handles=handles, loc="outside lower center", ncols=3, columnspacing=1.2, handletextpad=0.4)


def _pieces(points: Sequence[Point]) -> Iterator[tuple[Point, Point]]:
    """Cut the line through the points into short strokes, straight where x is logarithmic."""
    for (x0, y0), (x1, y1) in pairwise(points):
        steps = [i / PIECES for i in range(PIECES + 1)]
        yield from pairwise([(x0 ** (1 - t) * x1**t, (1 - t) * y0 + t * y1) for t in steps])


def _caption(section: Section, curves: Sequence[_Curve]) -> str:
    counts = sorted({beam.n for curve in curves for beam in curve.beams})
    n = units.count(counts[0]) + (f" to {units.count(counts[-1])}" if len(counts) > 1 else "")
    return (
        f"{label(SHOWN)} (solid) and {label(BESIDE)} (dashed) against the median latency of a query on "
        f"{section.dataset} as the beam widens, {SOURCE}; up and to the left is better. "
        f"The number at a point is the beam size: {MEANT}. {n} queries, asked one at a time."
    )


def _alt(curves: Sequence[_Curve]) -> str:
    return f"{label(SHOWN)}, {label(BESIDE)} and median latency by beam size. " + " ".join(
        f"{curve.system}: " + "; ".join(map(_spoken, curve.beams)) + "." for curve in curves
    )


def _spoken(beam: Beam) -> str:
    hits = f"{units.score(beam.scores[SHOWN])} and {units.score(beam.scores[BESIDE])}"
    return f"beam {beam.size} {hits} at {units.milliseconds(beam.p50_ms)}"
