"""Drawing primitives: one style for every figure, files that come out the same each time, labels that keep apart."""

from __future__ import annotations

import re
import warnings
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

from reports.units import tick

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure
    from matplotlib.transforms import Bbox

INCH_PX = 200
WIDTH_IN = 5.2
GREY = "#6b6b6b"
LONG_NAME = 20
"""Names of more characters are written two a line below a figure, others three."""


Point = tuple[float, float]


@dataclass(frozen=True)
class Drawing:
    """A figure on disk (figures/slug.*), its SVG for the page, and its words."""

    slug: str
    title: str
    caption: str
    alt: str
    svg: str


class Look(NamedTuple):
    """How a family is drawn: a colour (Okabe-Ito and Tol), and a marker so that grey print tells them apart too."""

    colour: str
    marker: str


LOOKS = {
    "sparse": Look("#0072B2", "s"),
    "dense": Look("#E69F00", "o"),
    "rerank": Look("#56B4E9", "v"),
    "generative": Look("#009E73", "^"),
    "self-retrieval": Look("#D55E00", "D"),
    "outside": Look("#332288", "*"),
    "bracket": Look("#8c8c8c", "X"),
}
OTHER = Look("#CC79A7", "P")

_STYLE: Any = {
    "font.family": "DejaVu Sans",
    "font.size": 10,
    "axes.titlesize": 10,
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.grid": True,
    "axes.axisbelow": True,
    "grid.color": "#e3e3e3",
    "grid.linewidth": 0.7,
    "legend.frameon": False,
    "legend.fontsize": 9,
    "svg.hashsalt": "self-retrieval-bench",
    "svg.fonttype": "path",
    "pdf.fonttype": 42,
    # System labels are free text: a "$" in one is no formula.
    "text.parse_math": False,
}


def look(family: str) -> Look:
    """Return how a family is drawn; families nobody knows share one look."""
    return LOOKS.get(family, OTHER)


def marker(family: str) -> dict[str, Any]:
    """Return the keywords that draw one point of a family."""
    shown = look(family)
    edge = {"markeredgecolor": "black", "markeredgewidth": 0.6, "markersize": 7}
    return {"linestyle": "", "color": shown.colour, "marker": shown.marker} | edge


FILLS = (None, "white", "black")
"""Fill of the markers of a family's first, second and third system; None: its colour."""
STROKES = ("-", "--", ":", "-.")


def apart(families: Sequence[str]) -> list[dict[str, Any]]:
    """Return the keywords that draw one curve a system, given their families, so that those of one family differ."""
    drawn = []
    for i, family in enumerate(families):
        before = families[:i].count(family)
        fill = FILLS[before % len(FILLS)]
        stroke = {"linestyle": STROKES[before % len(STROKES)], "linewidth": 1.4}
        drawn.append(marker(family) | stroke | ({"markerfacecolor": fill} if fill else {}))
    return drawn


def legend(figure: Figure, names: Sequence[str], looks: Sequence[dict[str, Any]]) -> None:
    """Explain the curves below the figure."""
    from matplotlib.lines import Line2D

    handles = [Line2D([], [], label=name, **keywords) for name, keywords in zip(names, looks, strict=True)]
    columns = 2 if max(map(len, names)) > LONG_NAME else 3
    figure.legend(handles=handles, loc="outside lower center", ncols=columns, columnspacing=1.2, handletextpad=0.4)


def legend_in(names: Sequence[str]) -> float:
    """Return the height in inches that `legend` needs."""
    columns = 2 if max(map(len, names)) > LONG_NAME else 3
    return 0.1 + 0.2 * -(-len(names) // columns)


@contextmanager
def canvas(height_in: float) -> Iterator[Figure]:
    """Give an empty figure in the house style; draw and save it inside the block."""
    import matplotlib
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    with matplotlib.rc_context(_STYLE), warnings.catch_warnings():
        # A system label may hold characters the font lacks; a box in a label is no reason to stop.
        warnings.filterwarnings("ignore", message="Glyph .* missing from font", category=UserWarning)
        figure = Figure(figsize=(WIDTH_IN, height_in), layout="constrained")
        FigureCanvasAgg(figure)
        yield figure


def save(figure: Figure, folder: Path, slug: str) -> str:
    """Write slug.svg, slug.png and slug.pdf without dates; return the SVG to be placed in a page."""
    figure.savefig(folder / f"{slug}.png", dpi=INCH_PX, metadata={"Software": None})
    figure.savefig(folder / f"{slug}.pdf", metadata={"CreationDate": None, "Creator": None, "Producer": None})
    figure.savefig(folder / f"{slug}.svg", metadata={"Date": None, "Creator": None})
    return inline((folder / f"{slug}.svg").read_text(encoding="utf-8"), slug)


def inline(svg: str, slug: str) -> str:
    """Make an SVG fit for a page that holds several: ids of its own, no prolog, comments, metadata or namespaces.

    Ids that nothing refers to go too, and so do the line breaks between the strokes of a path: half of the bytes.
    """
    prefix = re.sub(r"[^A-Za-z0-9_-]", "-", slug)
    body = svg[svg.index("<svg") :]
    body = re.sub(r"<!--.*?-->|<metadata>.*?</metadata>", "", body, flags=re.DOTALL)
    body = re.sub(r'\sxmlns(:\w+)?="[^"]*"', "", body).replace("xlink:href", "href")
    used = set(re.findall(r'(?:\bhref="#|url\(#)([^")]+)', body))
    body = re.sub(r'\sid="([^"]*)"', lambda found: found[0] if found[1] in used else "", body)
    body = re.sub(r'(\bid="|\bhref="#|url\(#)', rf"\g<1>{prefix}--", body)
    body = re.sub(r'(<svg\b[^>]*?) width="[^"]*"', r"\1", body, count=1)
    body = re.sub(r'(<svg\b[^>]*?) height="[^"]*"', r"\1", body, count=1)
    body = re.sub(r'\sd="[^"]*"', lambda path: re.sub(r"\s*([MLQCz])\s*", r"\1", path[0]), body)
    return re.sub(r"\n\s*", "\n", body).replace("<svg", '<svg aria-hidden="true" focusable="false"', 1).strip()


def pareto(points: Sequence[Point]) -> list[int]:
    """Return which points no other beats, left to right: x is a cost (less is better), y a quality.

    >>> pareto([(1, 0.2), (2, 0.1), (3, 0.5)])
    [0, 2]
    """
    front: list[int] = []
    for i in sorted(range(len(points)), key=lambda i: (points[i][0], -points[i][1])):
        if not front or points[i][1] > points[front[-1]][1]:
            front.append(i)
    return front


def log_axis(axes: Axes, values: Sequence[float], write: Callable[[float], str]) -> None:
    """Make x logarithmic with room around the values and ticks in human units."""
    from matplotlib.ticker import FuncFormatter, LogLocator, NullFormatter

    low, high = min(values) / 3, max(values) * 3
    axes.set_xscale("log")
    axes.set_xlim(low, high)
    narrow = high / low < 1000
    axes.xaxis.set_major_locator(LogLocator(base=10, subs=(1, 3) if narrow else (1,), numticks=7))
    axes.xaxis.set_major_formatter(FuncFormatter(lambda x, _: tick(write(x))))
    axes.xaxis.set_minor_formatter(NullFormatter())


def label_points(
    axes: Axes, points: Sequence[Point], texts: Sequence[str], strokes: Sequence[tuple[Point, Point]] = ()
) -> None:
    """Write a text beside each point where it covers no point, text or stroke; a thin line leads to far ones.

    strokes: lines already drawn, as (from, to) in data coordinates, each nearly level, upright or short.
    """
    from matplotlib.transforms import Bbox

    figure: Any = axes.figure
    figure.draw_without_rendering()
    renderer = figure.canvas.get_renderer()
    pixels = axes.transData.transform(list(points))
    scale = figure.dpi / 72
    marks = [Bbox.from_extents(x - 6 * scale, y - 6 * scale, x + 6 * scale, y + 6 * scale) for x, y in pixels]
    ends = [axes.transData.transform(stroke) for stroke in strokes]
    drawn = [Bbox([e.min(axis=0) - 1.5 * scale, e.max(axis=0) + 1.5 * scale]) for e in ends]
    taken, frame = marks + drawn, axes.get_window_extent(renderer)
    for i in sorted(range(len(points)), key=lambda i: -pixels[i][1]):
        note = axes.annotate(texts[i], points[i], (0, 0), textcoords="offset points", fontsize=9, va="center")
        note.set_in_layout(False)
        extent = note.get_window_extent(renderer)
        spot = min(_spots(pixels[i], extent, scale), key=lambda spot: _covered(spot, taken, frame))
        taken.append(spot)
        note.set_position(((spot.x0 - pixels[i][0]) / scale, (spot.y0 + spot.height / 2 - pixels[i][1]) / scale))
        if _gap(pixels[i], spot) > 14 * scale:
            end = (min(max(pixels[i][0], spot.x0), spot.x1), min(max(pixels[i][1], spot.y0), spot.y1))
            x, y = zip(points[i], axes.transData.inverted().transform(end), strict=True)
            axes.plot(x, y, color=GREY, linewidth=0.6, zorder=1.5)


def _spots(point: Sequence[float], text: Bbox, scale: float) -> Iterator[Bbox]:
    """Offer places of the text's size around the point, nearest first."""
    from matplotlib.transforms import Bbox

    for radius in (8, 14, 22, 32, 44, 58):
        for dx, dy in ((1, 0), (-1, 0), (0, 1), (0, -1), (1, 1), (-1, 1), (1, -1), (-1, -1)):
            x = point[0] + dx * radius * scale + (dx - 1) / 2 * text.width
            y = point[1] + dy * radius * scale + (dy - 1) / 2 * text.height
            yield Bbox.from_bounds(x, y, text.width, text.height)


def _covered(spot: Bbox, taken: Sequence[Bbox], frame: Bbox) -> float:
    """Return how much the place covers or sticks out, rounded so that equal places tie and the nearest wins."""
    outside = spot.width * spot.height - _shared(spot, frame)
    return round(sum(_shared(spot, other) for other in taken) + 4 * outside, 3)


def _shared(a: Bbox, b: Bbox) -> float:
    width = min(a.x1, b.x1) - max(a.x0, b.x0)
    height = min(a.y1, b.y1) - max(a.y0, b.y0)
    return float(max(width, 0.0) * max(height, 0.0))


def _gap(point: Sequence[float], box: Bbox) -> float:
    dx = max(box.x0 - point[0], 0.0, point[0] - box.x1)
    dy = max(box.y0 - point[1], 0.0, point[1] - box.y1)
    return float((dx * dx + dy * dy) ** 0.5)
