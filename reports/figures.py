"""Draw the figures of one dataset; each only where its data exist, with a caption and an alternative text."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from itertools import pairwise
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

from reports import beams, plots, slices, spread, units
from reports.load import Report, Row, Score, Section, number
from reports.plots import Drawing, Point
from reports.units import label

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

HITS = ("Success@1", "Success@5", "Success@10")
SHADES = (1.0, 0.6, 0.3)
STROKES = ("-", "--", ":", "-.")
MOST_POINTS = 200


def draw(report: Report, section: Section, folder: Path) -> tuple[Drawing, ...]:
    """Draw everything a dataset has data for into `folder`, in the order of the page."""
    painters = (_latency, _latencies, _memory, _memory_bars, _beams, _hits, _training, _slices)
    drawings = [painter(report, section, folder) for painter in painters]
    return tuple(d for d in drawings if d is not None)


class Price(NamedTuple):
    """What quality is set against: a short name, what it is, where it is found and how it is written.

    timed: whether another machine would give other figures.
    """

    kind: str
    what: str
    of: Callable[[Row], float | None]
    write: Callable[[float | None], str]
    timed: bool


LATENCY = Price(
    "latency", "median latency of a query", lambda row: row.cost("latency_ms.p50"), units.milliseconds, True
)
MEMORY = Price("memory", "bytes of index and parameters", lambda row: row.memory_bytes, units.size, False)


def _latency(_: Report, section: Section, folder: Path) -> Drawing | None:
    return _trade(section, folder, LATENCY)


def _memory(_: Report, section: Section, folder: Path) -> Drawing | None:
    return _trade(section, folder, MEMORY)


def _latencies(_: Report, section: Section, folder: Path) -> Drawing | None:
    return spread.latencies(section, folder)


def _memory_bars(_: Report, section: Section, folder: Path) -> Drawing | None:
    return spread.memory(section, folder)


def _slices(_: Report, section: Section, folder: Path) -> Drawing | None:
    return slices.draw(section, folder)


def _beams(_: Report, section: Section, folder: Path) -> Drawing | None:
    return beams.draw(section, folder)


def _trade(section: Section, folder: Path, price: Price) -> Drawing | None:
    """Draw quality against a cost on a log scale, with the Pareto front unless it would join different machines."""
    measure, (kind, what, cost, write, timed) = section.primary, price
    rows = [(r, s, x) for r in section.ranked() for s in [r.score(measure)] for x in [cost(r)] if s and x]
    if len(rows) < 2:
        return None
    points = [(x, s.value) for _, s, x in rows]
    front = [] if timed and len(section.machines) > 1 else plots.pareto(points)
    slug = f"{kind}-{section.slug}"
    with plots.canvas(3.9) as figure:
        axes = figure.subplots()
        plots.log_axis(axes, [x for x, _ in points], write)
        for start, end in _steps([points[i] for i in front]):
            axes.plot(*zip(start, end, strict=True), color=plots.GREY, linestyle="--", linewidth=1.1, zorder=1)
        for row, score, x in rows:
            if score.low is not None and score.high is not None:
                axes.vlines(x, score.low, score.high, color=plots.look(row.family).colour, linewidth=1, alpha=0.6)
            axes.plot([x], [score.value], zorder=3, **plots.marker(row.family))
        axes.set(xlabel=f"{what} (log scale)".capitalize(), ylabel=label(measure))
        axes.margins(y=0.12)
        _families(figure, [r for r in section.rows if r in [row for row, _, _ in rows]], front=len(front) > 1)
        whiskers = [((x, s.low), (x, s.high)) for _, s, x in rows if s.low is not None and s.high is not None]
        strokes = whiskers + _steps([points[i] for i in front])
        plots.label_points(axes, points, [r.system for r, _, _ in rows], strokes)
        svg = plots.save(figure, folder, slug)
    names = ", ".join(rows[i][0].system for i in front)
    unknown = ", ".join(r.system for r in section.ranked() if not cost(r))
    alt = "; ".join(f"{r.system} {units.score(s.value)} at {write(x)}" for r, s, x in rows)
    return Drawing(
        slug,
        f"Quality against {kind}",
        f"{label(measure)} against the {what} on {section.dataset}; up and to the left is better, "
        f"whiskers are 95\u202f% intervals. {_front(names)}"
        + (f" Left out, because their {kind} was not measured: {unknown}." if unknown else ""),
        f"{label(measure)} and {what}: {alt}." + (f" Pareto front: {names}." if names else ""),
        svg,
    )


def _front(names: str) -> str:
    """Say which systems are on the front, or why there is none."""
    if not names:
        return "No Pareto front is drawn: the systems ran on different machines, whose times must not be compared."
    return f"No other system is both better and cheaper than those on the Pareto front: {names}."


def _steps(front: Sequence[Point]) -> list[tuple[Point, Point]]:
    """Cut the front into level and upright strokes: no system stands between two of its points."""
    corners = [(p, (q[0], p[1]), q) for p, q in pairwise(front)]
    return [stroke for p, corner, q in corners for stroke in ((p, corner), (corner, q))]


def _families(figure: Figure, rows: Sequence[Row], *, front: bool = False, patches: bool = False) -> None:
    """Explain colours and markers below the figure."""
    from matplotlib.lines import Line2D
    from matplotlib.patches import Patch

    handles: list[Any] = []
    for family in dict.fromkeys(r.family for r in rows):
        if patches:
            handles.append(Patch(facecolor=plots.look(family).colour, label=family))
        else:
            handles.append(Line2D([], [], label=family, **plots.marker(family)))
    if front:
        handles.append(Line2D([], [], color=plots.GREY, linestyle="--", label="Pareto front"))
    figure.legend(handles=handles, loc="outside lower center", ncols=3, columnspacing=1.2, handletextpad=0.4)


def _hits(report: Report, section: Section, folder: Path) -> Drawing | None:
    """Draw Hits@1/5/10 of every system as grouped bars."""
    rows = [r for r in section.rows if any(r.score(m) for m in HITS)]
    shown = [m for m in HITS if any(r.score(m) for r in rows)]
    if not rows:
        return None
    slug = f"hits-{section.slug}"
    with plots.canvas(0.9 + 0.2 * len(rows) * (len(shown) + 0.8)) as figure:
        axes = figure.subplots()
        step = len(shown) + 0.8
        for i, row in enumerate(rows):
            for j, measure in enumerate(shown):
                _bar(
                    axes,
                    row,
                    row.score(measure),
                    i * step + j,
                    shade=SHADES[j],
                    prefix=f"@{measure.partition('@')[2]} ",
                )
        _rows_axis(axes, [r.system for r in rows], [i * step + (len(shown) - 1) / 2 for i in range(len(rows))])
        axes.set(xlim=(0, 1.24), xlabel="Share of queries with a relevant one in the first k")
        _families(figure, rows, patches=True)
        svg = plots.save(figure, folder, slug)
    names = ", ".join(map(label, shown))
    alt = "; ".join(f"{r.system} " + ", ".join(units.score(_plain(r, m)) for m in shown) for r in rows)
    return Drawing(
        slug,
        "Hits by system",
        f"{names} on {section.dataset}, the paler the larger k; whiskers are 95\u202f% intervals. "
        "Oracle and random only bound the scores.",
        f"{names} by system: {alt}.",
        svg,
    )


def _plain(row: Row, measure: str, group: str = "all") -> float | None:
    found = row.score(measure, group)
    return None if found is None else found.value


def _bar(axes: Axes, row: Row, score: Score | None, at: float, *, shade: float = 1, prefix: str = "") -> None:
    """Draw one bar with its whisker and, right of both, its figure."""
    if score is None:
        return
    from matplotlib.colors import to_rgb

    colour = tuple(1 - shade * (1 - c) for c in to_rgb(plots.look(row.family).colour))
    axes.barh(at, score.value, height=0.86, color=colour)
    end = score.value
    if score.low is not None and score.high is not None:
        axes.hlines(at, score.low, score.high, color="black", linewidth=0.9)
        end = max(end, score.high)
    axes.annotate(f"{prefix}{score.value:.2f}", (end, at), (4, 0), textcoords="offset points", va="center", fontsize=8)


def _rows_axis(axes: Axes, names: Sequence[str], at: Sequence[float]) -> None:
    axes.set_yticks(list(at), list(names))
    axes.invert_yaxis()
    axes.tick_params(axis="y", length=0)
    axes.grid(visible=False, axis="y")
    axes.set_xticks([0, 0.25, 0.5, 0.75, 1], ["0", ".25", ".5", ".75", "1"])


def _training(_: Report, section: Section, folder: Path) -> Drawing | None:
    """Draw loss, and quality on the dev queries where it was logged, against the tokens trained on."""
    curves = {r.system: c for r in section.rows if (c := _curve(r, "loss"))}
    if not curves:
        return None
    keys = {r.system: k for r in section.rows if (k := _dev_key(r))}
    dev = {r.system: c for r in section.rows if r.system in keys and (c := _curve(r, keys[r.system]))}
    slug = f"training-{section.slug}"
    trained = [r for r in section.rows if r.system in curves]
    with plots.canvas(2.9 + (2.3 if dev else 0)) as figure:
        panels = figure.subplots(2 if dev else 1, 1, sharex=True, squeeze=False)[:, 0]
        if dev:
            _lines(panels[1], dev, trained, dots=True)
            names = sorted({_dev_name(key) for key in keys.values()})
            panels[1].set(ylabel=f"{' / '.join(names)} on dev", ylim=(0, None))
        _lines(panels[0], curves, trained)
        panels[0].set(ylabel="Training loss")
        panels[-1].set(xlabel="Training tokens")
        panels[-1].xaxis.set_major_formatter(
            lambda x, _: f"{x / 1e6:g} M" if x >= 1e6 else f"{x / 1e3:g} k" if x else "0"
        )
        for panel, shown in zip(panels, (curves, dev), strict=False):
            _label_ends(panel, shown)
        svg = plots.save(figure, folder, slug)
    words = [f"{s} from {c[0][1]:.2f} to {c[-1][1]:.2f} over {units.count(c[-1][0])} tokens" for s, c in curves.items()]
    words += [f"{s} {_dev_name(keys[s])} on dev queries ends at {c[-1][1]:.3f}" for s, c in dev.items()]
    caption = f"Training on {section.dataset}: loss against tokens" + (
        "; learning curves: quality on dev queries against tokens, a dot each time it was measured." if dev else "."
    )
    caption += " Losses of different systems count different spans and are not comparable in height."
    caption += " First seed." if section.most_seeds > 1 else ""
    return Drawing(slug, "Training", caption, f"Training loss: {'; '.join(words)}.", svg)


def _log(row: Row) -> Sequence[Mapping[str, Any]]:
    return next((c.training for c in row.cells if c.training), ())


def _dev_key(row: Row) -> str | None:
    """Find what quality on dev queries was logged as: the first key that begins with "dev" and is no loss."""
    keys = (k for entry in _log(row) for k in entry if k.startswith("dev") and "loss" not in k)
    return next(keys, None)


def _dev_name(key: str) -> str:
    """Say the measure in a key of the training log as people say it."""
    return label(key.removeprefix("dev").lstrip("_ "))


def _curve(row: Row, key: str) -> list[Point]:
    """Return (tokens, value) of one training; tokens go on counting where a later stage starts from 0."""
    points: list[Point] = []
    before = offset = 0.0
    for entry in _log(row):
        tokens, value = number(entry.get("tokens")), number(entry.get(key))
        if tokens is None:
            continue
        offset += before if tokens < before else 0.0
        before = tokens
        if value is not None:
            points.append((offset + tokens, value))
    return _thinned(points)


def _thinned(points: list[Point]) -> list[Point]:
    """Average neighbours so that a long log stays a light figure."""
    size = -(-len(points) // MOST_POINTS) or 1
    chunks = [points[i : i + size] for i in range(0, len(points), size)]
    return [(c[-1][0], sum(y for _, y in c) / len(c)) for c in chunks]


def _lines(axes: Axes, curves: Mapping[str, list[Point]], rows: Sequence[Row], *, dots: bool = False) -> None:
    """Draw the curves, with a dot at each point where asked for; a system keeps its stroke from panel to panel."""
    for i, row in enumerate(rows):
        if row.system in curves:
            x, y = zip(*curves[row.system], strict=True)
            look = plots.look(row.family)
            axes.plot(x, y, color=look.colour, linestyle=STROKES[i % len(STROKES)], linewidth=1.6)
            if dots:
                axes.plot(x, y, color=look.colour, linestyle="", marker=".", markersize=6)
            axes.plot(x[-1:], y[-1:], **plots.marker(row.family))
    axes.margins(y=0.15)
    axes.set_xlim(0, 1.35 * max(c[-1][0] for c in curves.values()))


def _label_ends(axes: Axes, curves: Mapping[str, list[Point]]) -> None:
    strokes = [stroke for c in curves.values() for stroke in pairwise(c)]
    plots.label_points(axes, [c[-1] for c in curves.values()], list(curves), strokes)
