"""What the single figures of the cost table hide: how latencies spread, and what memory is made of."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

from reports import plots, units
from reports.load import Row, Section, number
from reports.plots import Drawing

if TYPE_CHECKING:
    from matplotlib.axes import Axes

FEWEST = 5
"""Latencies of fewer queries have no box."""
MOST_DOTS = 60
"""Dots drawn of one system, evenly chosen from the sorted latencies."""
SHARES = (5, 25, 50, 75, 95, 99)


class Spread(NamedTuple):
    """Latencies of one system: in ms and sorted, empty where only `ends` (p50, p95, p99) were kept."""

    row: Row
    samples_ms: list[float]
    ends: tuple[float, float, float]


def latencies(section: Section, folder: Path) -> Drawing | None:
    """Draw how the latency of a query spreads: a box where that of each query was kept, else p50 to p99."""
    found = [spread for row in section.rows if not row.bracket and (spread := _spread(row))]
    if not found:
        return None
    slug = f"latencies-{section.slug}"
    with plots.canvas(0.8 + 0.42 * len(found)) as figure:
        axes = figure.subplots()
        every = [ms for spread in found for ms in (*spread.samples_ms, *spread.ends)]
        plots.log_axis(axes, every, units.milliseconds)
        for at, spread in enumerate(found):
            _line(axes, at, spread)
        axes.set_yticks(range(len(found)), [spread.row.system for spread in found])
        axes.set(ylim=(len(found) - 0.4, -0.6), xlabel="Latency of a query asked alone (log scale)")
        axes.grid(visible=False, axis="y")
        axes.tick_params(axis="y", length=0)
        svg = plots.save(figure, folder, slug)
    return Drawing(slug, "Latency distribution", _latency_caption(section, found), _latency_alt(found), svg)


def _spread(row: Row) -> Spread | None:
    ends = row.cost("latency_ms.p50"), row.cost("latency_ms.p95"), row.cost("latency_ms.p99")
    p50, p95, p99 = ends
    if not p50 or not p95 or not p99:
        return None
    lists = (c.meter.get("latency_samples_ms") or () for c in row.cells if c.state == "done")
    samples = sorted(v for values in lists for ms in values if (v := number(ms)) and v > 0)
    return Spread(row, samples if len(samples) >= FEWEST else [], (p50, p95, p99))


def _line(axes: Axes, at: int, spread: Spread) -> None:
    look = plots.marker(spread.row.family)
    colour = look["color"]
    if not spread.samples_ms:
        p50, p95, p99 = spread.ends
        axes.hlines(at, p50, p99, color=colour, linewidth=1.4)
        axes.plot([p95, p99], [at, at], linestyle="", marker="|", color=colour, markersize=9)
        axes.plot([p50], [at], zorder=3, **look)
        return
    low, first, middle, third, high, _ = _percentiles(spread.samples_ms)
    axes.hlines(at, low, high, color=colour, linewidth=1.4)
    axes.barh(at, third - first, left=first, height=0.5, facecolor="white", edgecolor=colour, linewidth=1.4)
    dots = _some(spread.samples_ms)
    jitter = [at + ((i * 7) % 5 - 2) * 0.06 for i in range(len(dots))]
    axes.plot(dots, jitter, linestyle="", marker=".", markersize=3, color=colour, alpha=0.5, markeredgewidth=0)
    axes.plot([middle], [at], zorder=3, **look)


def _percentiles(samples_ms: Sequence[float]) -> list[float]:
    import numpy as np

    return [float(v) for v in np.percentile(samples_ms, SHARES, method="linear")]


def _some(values: Sequence[float]) -> list[float]:
    """Choose evenly among sorted values, the first and the last with them."""
    if len(values) <= MOST_DOTS:
        return list(values)
    return [values[round(i * (len(values) - 1) / (MOST_DOTS - 1))] for i in range(MOST_DOTS)]


def _latency_caption(section: Section, found: Sequence[Spread]) -> str:
    text = f"How long single queries of {section.dataset} take, asked one at a time."
    if any(spread.samples_ms for spread in found):
        text += " Box: the middle half of the queries; marker: the median; line: 5 to 95\u202f%; a dot a query"
        text += f", at most {MOST_DOTS} of each system."
    if any(not spread.samples_ms for spread in found):
        text += " Without a box: each query's latency was not kept; marker: the median; ticks: p95 and p99."
    return text


def _latency_alt(found: Sequence[Spread]) -> str:
    said = []
    for spread in found:
        p50, p95, p99 = map(units.milliseconds, spread.ends)
        said.append(f"{spread.row.system} p50 {p50}, p95 {p95}, p99 {p99}")
        if spread.samples_ms:
            _, first, _, third, *_ = _percentiles(spread.samples_ms)
            said[-1] += f", half of the queries {units.milliseconds(first)} to {units.milliseconds(third)}"
    return f"Latency distribution: {'; '.join(said)}."


def memory(section: Section, folder: Path) -> Drawing | None:
    """Draw bars of memory, two a system: index and parameters, and the peak of the process while it searches."""
    rows = [r for r in section.rows if not r.bracket and (r.memory_bytes or _peak(r))]
    if not rows:
        return None
    slug = f"memory-bars-{section.slug}"
    with plots.canvas(1.1 + 0.46 * len(rows)) as figure:
        axes = figure.subplots()
        for at, row in enumerate(rows):
            _bars(axes, at, row)
        axes.set_yticks(range(len(rows)), [r.system for r in rows])
        most = max(max(r.memory_bytes or 0.0, _peak(r) or 0.0) for r in rows)
        axes.set(ylim=(len(rows) - 0.4, -0.6), xlim=(0, 1.25 * most), xlabel="Memory")
        axes.xaxis.set_major_formatter(lambda x, _: units.tick(units.size(x)))
        axes.xaxis.set_major_locator(_few())
        axes.grid(visible=False, axis="y")
        axes.tick_params(axis="y", length=0)
        _memory_legend(figure)
        svg = plots.save(figure, folder, slug)
    said = (f"{r.system} {_memory_words(r)}" for r in rows)
    caption = (
        f"Memory on {section.dataset}: what is kept of index and parameters, and the most the process held while it "
        "searched."
    )
    return Drawing(slug, "Memory", caption, f"Memory: {'; '.join(said)}.", svg)


def _peak(row: Row) -> float | None:
    return row.cost("rss_peak_bytes.search")


def _bars(axes: Axes, at: int, row: Row) -> None:
    colour, peak = plots.look(row.family).colour, _peak(row)
    if row.memory_bytes is not None:
        index, parameters = row.cost("index_bytes") or 0.0, row.cost("parameter_bytes") or 0.0
        axes.barh(at - 0.19, parameters, height=0.34, color=colour, edgecolor=colour)
        axes.barh(at - 0.19, index, left=parameters, height=0.34, color="white", edgecolor=colour, hatch="////")
        _write(axes, at - 0.19, row.memory_bytes)
    if peak is not None:
        axes.barh(at + 0.19, peak, height=0.34, color="white", edgecolor=colour)
        _write(axes, at + 0.19, peak)


def _write(axes: Axes, at: float, value: float) -> None:
    near: dict[str, Any] = {"textcoords": "offset points", "va": "center", "fontsize": 8}
    axes.annotate(units.size(value), (value, at), (4, 0), **near)


def _few() -> Any:
    from matplotlib.ticker import MaxNLocator

    return MaxNLocator(5)


def _memory_legend(figure: Any) -> None:
    from matplotlib.patches import Patch

    shapes: dict[str, dict[str, Any]] = {
        "parameters": {"facecolor": plots.GREY},
        "index": {"facecolor": "white", "hatch": "////"},
        "peak of the process, searching": {"facecolor": "white"},
    }
    handles = [Patch(edgecolor=plots.GREY, label=name, **shape) for name, shape in shapes.items()]
    figure.legend(handles=handles, loc="outside lower center", ncols=3, columnspacing=1.2, handletextpad=0.5)


def _memory_words(row: Row) -> str:
    words = []
    if row.memory_bytes is not None:
        index, parameters = units.size(row.cost("index_bytes")), units.size(row.cost("parameter_bytes"))
        words.append(f"index {index}, parameters {parameters}")
    if _peak(row) is not None:
        words.append(f"peak while searching {units.size(_peak(row))}")
    return ", ".join(words)
