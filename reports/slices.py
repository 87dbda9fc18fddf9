"""Quality by slice of the queries: one panel a kind of slice, one curve a system."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

from reports import plots, units
from reports.plots import Drawing
from reports.units import label

if TYPE_CHECKING:
    from matplotlib.axes import Axes

    from reports.load import Row, Section

VERBATIM = {"verbatim": "yes", "not verbatim": "no"}
PREFIXES = {
    "gold train queries ": "Training queries of the passage",
    "gold overlap ": "Share of its words in the passage",
    "query words ": "Words in the query",
}
"""How the names of a kind of slice begin, and its title; what follows stands below the axis."""
OTHERS = "Other slices"
DODGE = 0.36
"""How far apart the first and the last system of one slice stand, in slices."""


class Kind(NamedTuple):
    """Slices that cut the queries by one question: a title, their names, and what stands below each."""

    title: str
    names: tuple[str, ...]
    ticks: tuple[str, ...]


def kinds(section: Section) -> list[Kind]:
    """Sort the slices of a dataset by what they ask, in the order of the results."""
    counts = section.slices()
    left = dict.fromkeys(counts)
    found = []
    titled = [("Query word for word in the passage", VERBATIM)]
    for start, title in PREFIXES.items():
        titled.append((title, {name: name.removeprefix(start) for name in left if name.startswith(start)}))
    for title, ticks in [*titled, (OTHERS, {n: n for n in left})]:
        names = [name for name in left if name in ticks]
        if names:
            found.append(Kind(title, tuple(names), tuple(f"{ticks[n]}\nn = {units.count(counts[n])}" for n in names)))
        left = {name: None for name in left if name not in names}
    return found


def draw(section: Section, folder: Path) -> Drawing | None:
    """Draw the primary measure of every system but the brackets, slice by slice."""
    measure, panels_of = section.primary, kinds(section)
    names = [name for kind in panels_of for name in kind.names]
    rows = [r for r in section.rows if not r.bracket and any(r.score(measure, n) for n in names)]
    if not rows:
        return None
    slug, looks = f"slices-{section.slug}", plots.apart([r.family for r in rows])
    lines = -(-len(panels_of) // 2)
    systems = [r.system for r in rows]
    with plots.canvas(0.2 + 2.1 * lines + plots.legend_in(systems)) as figure:
        panels = list(figure.subplots(lines, 2, sharey=True, squeeze=False).flat)
        for panel, kind in zip(panels, panels_of, strict=False):
            _panel(panel, kind, rows, looks, measure)
        for panel in panels[len(panels_of) :]:
            panel.set_axis_off()
        for panel in panels[::2]:
            panel.set(ylabel=label(measure), ylim=(0, 1.02))
        plots.legend(figure, systems, looks)
        svg = plots.save(figure, folder, slug)
    caption = (
        f"{label(measure)} by slice of the queries of {section.dataset}; whiskers are 95\u202f% intervals, "
        "n is the number of queries. The passage is the relevant one."
    )
    return Drawing(slug, "Quality by slice", caption, _alt(rows, names, measure), svg)


def _panel(panel: Axes, kind: Kind, rows: Sequence[Row], looks: Sequence[dict[str, Any]], measure: str) -> None:
    step = DODGE / max(len(rows) - 1, 1)
    for i, (row, look) in enumerate(zip(rows, looks, strict=True)):
        shift = i * step - DODGE / 2 if len(rows) > 1 else 0.0
        points = [(at + shift, score) for at, name in enumerate(kind.names) if (score := row.score(measure, name))]
        small = look | {"markersize": 5, "linewidth": 1.0}
        panel.plot([x for x, _ in points], [score.value for _, score in points], zorder=3, **small)
        for x, score in points:
            if score.low is not None and score.high is not None:
                panel.vlines(x, score.low, score.high, color=look["color"], linewidth=0.9, alpha=0.6)
    panel.set_title(kind.title, fontsize=8, loc="left")
    panel.set_xticks(range(len(kind.names)), kind.ticks, fontsize=8)
    panel.set_xlim(-0.5, len(kind.names) - 0.5)
    panel.grid(visible=False, axis="x")


def _alt(rows: Sequence[Row], names: Sequence[str], measure: str) -> str:
    said = []
    for name in names:
        scores = [(row.system, row.score(measure, name)) for row in rows]
        said.append(f"{name}: " + ", ".join(f"{system} {units.score(s.value if s else None)}" for system, s in scores))
    return f"{label(measure)} by slice. {'; '.join(said)}."
