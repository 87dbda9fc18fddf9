"""Figures 2 to 4, redrawn: one panel with what the paper prints, one with what was measured here."""

from __future__ import annotations

import textwrap
from collections.abc import Sequence
from itertools import pairwise
from pathlib import Path
from typing import TYPE_CHECKING, Any

from reports import plots, units
from reports.paper import points, tables
from reports.paper.measured import Measured
from reports.paper.points import CROSS, OWN, SELF, Point, Points
from reports.paper.published import Published
from reports.paper.recipes import Recipe
from reports.paper.tables import HERE, PUBLISHED
from reports.plots import Drawing

if TYPE_CHECKING:
    from collections.abc import Callable

    from matplotlib.axes import Axes

STROKES: tuple[Any, ...] = ("--", "-")
"""Of the first and the second measure."""
SHADES = {OWN: "#bdbdbd", CROSS: plots.LOOKS["rerank"].colour, SELF: plots.LOOKS["self-retrieval"].colour}
LETTERS_A_LINE = 66


def draw(recipe: Recipe, published: Published, measured: Measured | None, folder: Path) -> Drawing:
    """Draw one figure into `folder` as PNG, SVG and PDF; "published" and "measured here" stand on its face."""
    shown = points.points(recipe, published, measured)
    said = published.figures[recipe.number]
    bars = recipe.shape == "reranking"
    with plots.canvas(6.4) as figure:
        figure.suptitle(f"{recipe.name}, redrawn: {recipe.title}", fontsize=11)
        top, bottom = figure.subplots(2, 1, height_ratios=[1 if shown.published else 0.35, 1])
        paint = _bars if bars else _lines
        title = f"{PUBLISHED} (as far as it is printed)"
        _panel(top, title, shown.published, lambda: paint(top, shown.published, shown), said)
        title = f"{HERE}: {measured.brief}" if measured and shown.here else HERE
        _panel(
            bottom,
            title,
            shown.here,
            lambda: paint(bottom, shown.here, shown),
            f"Nothing yet: {tables.how_to(recipe)}.",
        )
        svg = plots.save(figure, folder, recipe.slug)
    caption = tables.caption_of(recipe, measured if shown.here else None) + f" {PUBLISHED.capitalize()} figure: {said}"
    return Drawing(recipe.slug, recipe.name, caption, _alt(shown), svg)


def _panel(axes: Axes, title: str, found: Sequence[Point], paint: Callable[[], None], otherwise: str) -> None:
    """Draw one half; a text stands where there are no points."""
    axes.set_title(title, loc="left", fontsize=10, fontweight="bold")
    if found:
        paint()
        return
    axes.set_axis_off()
    axes.text(0.02, 0.9, textwrap.fill(otherwise, LETTERS_A_LINE), transform=axes.transAxes, va="top", fontsize=9)


def _lines(axes: Axes, found: Sequence[Point], shown: Points) -> None:
    """Draw a line for each series and measure, the points of a single one without a line, and name each at its end."""
    plots.log_axis(axes, [point.x for point in found], _write(found))
    axes.set(ylim=(0, 105), ylabel="percent", xlabel=f"{shown.axis} (log scale)")
    first, second = shown.measures
    named: list[tuple[plots.Point, str]] = []
    strokes: list[tuple[plots.Point, plots.Point]] = []
    series = _series(found)
    looks = plots.apart([own[0].family for own in series.values()])
    for (name, own), look in zip(series.items(), looks, strict=True):
        for measure, stroke in zip(shown.measures, STROKES, strict=True):
            xy = [(point.x, point.values[measure]) for point in own if measure in point.values]
            axes.plot(*zip(*xy, strict=True), **look | {"linestyle": stroke, "linewidth": 1.3})
            strokes += pairwise(xy)
        models = [point for point in own if point.at.endswith("weights")]
        named += [((point.x, point.values[second]), point.at.partition(":")[0]) for point in models]
        named += [((point.x, point.values[second]), name) for point in own[-1:] if not models]
    plots.label_points(axes, [at for at, _ in named], [text for _, text in named], strokes)
    _measures(axes, first, second)


def _measures(axes: Axes, *measures: str) -> None:
    from matplotlib.lines import Line2D

    strokes = zip(measures, STROKES, strict=True)
    handles = [Line2D([], [], color="black", linestyle=stroke, label=measure) for measure, stroke in strokes]
    axes.legend(handles=handles, loc="lower right", fontsize=8)


def _write(found: Sequence[Point]) -> Callable[[float | None], str]:
    """Choose how x is written: documents, bytes of weights, or parameters as the paper has them."""
    if found[0].at.endswith("documents"):
        return units.count
    if found[0].at.endswith("weights"):
        return units.size
    return lambda x: units.ABSENT if x is None else f"{x / 1e9:.3g}B"


def _series(found: Sequence[Point]) -> dict[str, list[Point]]:
    """Group points by series, the smallest x first."""
    grouped: dict[str, list[Point]] = {}
    for point in sorted(found, key=lambda point: point.x):
        grouped.setdefault(point.series, []).append(point)
    return grouped


def _bars(axes: Axes, found: Sequence[Point], shown: Points) -> None:
    """Draw a group of bars for each first system: its own order, the cross-encoder, the self-assessment."""
    from matplotlib.patches import Patch

    (measure,) = shown.measures
    names = list(dict.fromkeys(point.series for point in found))
    step = len(SHADES) + 0.8
    for point in found:
        if measure in point.values:
            y = names.index(point.series) * step + list(SHADES).index(point.at)
            axes.barh(y, point.values[measure], height=0.86, color=SHADES[point.at])
            text = f"{point.values[measure]:.2f}"
            axes.annotate(text, (point.values[measure], y), (4, 0), textcoords="offset points", va="center", fontsize=8)
    axes.set_yticks([i * step + 1 for i in range(len(names))], names)
    axes.invert_yaxis()
    axes.grid(visible=False, axis="y")
    axes.set(xlim=(0, 112), xlabel=f"{measure}, percent")
    handles = [Patch(facecolor=colour, label=place) for place, colour in SHADES.items()]
    axes.legend(handles=handles, loc="lower right", fontsize=8)


def _alt(shown: Points) -> str:
    """Say all points in words."""
    said = []
    for name, found in ((PUBLISHED, shown.published), (HERE, shown.here)):
        each = "; ".join(
            f"{point.series} at {point.at}: " + ", ".join(f"{m} {value:.2f}" for m, value in point.values.items())
            for point in found
        )
        said.append(f"{name.capitalize()}: {each or 'no points'}.")
    return " ".join(said)
