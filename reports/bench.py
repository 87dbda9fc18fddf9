"""Tables and figures of the benchmarks, from the figures that `harness bench ... --json` writes."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from harness.errors import ConfigError
from reports import plots, units

Figures = Mapping[str, Any]
Rows = tuple[tuple[str, ...], list[tuple[str, ...]]]
OURS, OTHER = plots.LOOKS["self-retrieval"], plots.LOOKS["sparse"]


def decode_table(figures: Figures) -> Rows:
    """Return heads and rows of the comparisons with `generate` and with the released way."""
    heads = ("what", "queries at once", "other way, ms", "ours, ms", "speed-up", "equal")
    rows: list[tuple[str, ...]] = [
        (
            f"{c['corpus']}, over {'all tokens' if c['normaliser'] == 'vocabulary' else 'allowed tokens'}",
            str(c["queries_at_once"]),
            f"{c['generate_ms']:.0f} (generate, batch {c['generate_batch']})",
            f"{c['ours_ms']:.0f}",
            f"{c['speedup']:.1f}x",
            f"{c['equal']}/{c['queries']}",
        )
        for c in figures["comparisons"]
    ]
    for w in figures.get("whole", ()):
        name = f"whole retrieval of {w['corpus']}, {w['candidates']:.0f} passages judged"
        other, equal = f"{w['released_ms']:.0f} (released way)", f"{w['equal']}/{w['queries']}"
        rows.append((name, "1", other, f"{w['single_ms']:.0f}", f"{w['single_speedup']:.1f}x", equal))
        rows.append((name, str(w["batch_size"]), other, f"{w['batch_ms']:.0f}", f"{w['batch_speedup']:.1f}x", ""))
        fewer = f"titles and passages of {w['corpus']} alone, none judged"
        rows.append((fewer, "1", "(released way)", "", f"{w['unjudged_speedup']:.1f}x", ""))
    return heads, rows


def exhaustive_table(figures: Figures) -> Rows:
    """Return heads and rows of the exhaustive mode."""
    heads = ("sequences", "exhaustive, ms", "beam, ms", "exhaustive / beam", "beam has best 1", "of best 5")
    rows: list[tuple[str, ...]] = [
        (
            units.count(e["sequences"]),
            f"{e['exhaustive_ms']:.0f}",
            f"{e['beam_ms']:.0f}",
            f"{e['ratio']:.2f}",
            f"{e['top1']:.0%}",
            f"{e['top5']:.0%}",
        )
        for e in figures["exhaustive"]
    ]
    return heads, rows


def trie_table(figures: Figures) -> Rows:
    """Return heads and rows of the growth of a trie."""
    heads = ("passages", "nodes", "bytes a passage", "above 4 a node", "passages a minute", "open, s", "step, µs")
    rows: list[tuple[str, ...]] = [
        (
            units.count(s["passages"]),
            units.count(s["nodes"]),
            f"{s['bytes_per_passage']:.1f}",
            f"{s['overhead_bytes_per_passage']:.1f}",
            units.count(s["passages_per_minute"]),
            f"{s['open_s']:.3f}",
            f"{s['step_us']:.0f}",
        )
        for s in figures["sizes"]
    ]
    return heads, rows


def scale_table(figures: Figures) -> Rows:
    """Return heads and rows of the growth of a corpus."""
    heads = ("passages", "stage", "s", "passages/s", "bytes a passage", "peak RSS, GB", "a search, ms")
    rows: list[tuple[str, ...]] = [
        (
            units.count(r["passages"]),
            r["stage"],
            units.three(r["seconds"]),
            units.count(round(r["passages_per_s"])),
            f"{r['bytes_per_passage']:.0f}",
            f"{r['rss_peak_bytes'] / 1e9:.2f}",
            units.three(r["search_ms"]) if "search_ms" in r else "",
        )
        for r in figures["rows"]
    ]
    return heads, rows


def draw_decode(figures: Figures, path: Path) -> None:
    """Draw the speed-ups as bars."""
    _, rows = decode_table(figures)
    names = [f"{what}, {'one query' if size == '1' else f'batch of {size}'}" for what, size, *_ in rows]
    values = [float(row[4].removesuffix("x")) for row in rows]
    released = ["released" in row[2] for row in rows]
    with plots.canvas(1.0 + 0.42 * len(rows)) as figure:
        axes = figure.subplots()
        for i, (value, other) in enumerate(zip(values, released, strict=True)):
            axes.barh(i, value, height=0.5, color=(OTHER if other else OURS).colour)
            axes.annotate(f"{value:.1f}x", (value, i), (4, 0), textcoords="offset points", va="center", fontsize=9)
            axes.annotate(names[i], (0, i - 0.42), (1, 0), textcoords="offset points", va="center", fontsize=7.5)
        axes.axvline(1, color=plots.GREY, linestyle="--", linewidth=1)
        axes.set(
            xlim=(0, max(values) * 1.15),
            xlabel="Times faster at equal hypotheses: orange against generate,\nblue against the released way",
        )
        axes.set_yticks([])
        axes.invert_yaxis()
        axes.grid(visible=False, axis="y")
        _save(figure, path)


def draw_trie(figures: Figures, path: Path) -> None:
    """Draw bytes a passage, build time and step time against the number of passages."""
    sizes = figures["sizes"]
    x = [s["passages"] for s in sizes]
    panels: Sequence[tuple[str, list[float]]] = (
        ("Bytes a passage", [s["bytes_per_passage"] for s in sizes]),
        ("Build, µs a passage", [s["build_s"] / s["passages"] * 1e6 for s in sizes]),
        ("Step, µs", [s["step_us"] for s in sizes]),
    )
    with plots.canvas(5.4) as figure:
        for axes, (name, y) in zip(figure.subplots(3, 1, sharex=True), panels, strict=True):
            axes.plot(x, y, color=OURS.colour, marker="o", linewidth=1.6)
            for at, value in zip(x, y, strict=True):
                axes.annotate(f"{value:.3g}", (at, value), (0, 6), textcoords="offset points", ha="center", fontsize=8)
            axes.set(ylabel=name, ylim=(0, max(y) * 1.3))
        plots.log_axis(axes, x, units.count)
        axes.set_xlabel("Passages (log scale)")
        _save(figure, path)


def draw_scale(figures: Figures, path: Path) -> None:
    """Draw speed, peak memory and bytes a passage of each stage against the number of passages."""
    rows, limit_gb = figures["rows"], figures["limit_bytes"] / 1e9
    looks = [look for family, look in plots.LOOKS.items() if family != "bracket"]
    stages = dict(zip(dict.fromkeys(row["stage"] for row in rows), looks, strict=False))
    with plots.canvas(6.6) as figure:
        speed, memory, disk = figure.subplots(3, 1, sharex=True)
        for stage, look in stages.items():
            mine = [row for row in rows if row["stage"] == stage]
            x = [row["passages"] for row in mine]
            style: Any = {"label": stage, "color": look.colour, "marker": look.marker, "markersize": 5}
            if stage not in _LOADING:
                speed.plot(x, [row["passages_per_s"] for row in mine], **style)
            memory.plot(x, [row["rss_peak_bytes"] / 1e9 for row in mine], **style)
            disk.plot(x, [row["bytes_per_passage"] for row in mine], **style)
        memory.axhline(limit_gb, color=plots.GREY, linestyle="--", linewidth=1, label=f"{limit_gb:g} GB")
        for axes, name in ((speed, "Passages/s"), (memory, "Peak RSS, GB")):
            axes.set(ylabel=name, yscale="log")
            axes.yaxis.set_major_formatter(lambda y, _: _short(y))
            axes.yaxis.set_minor_formatter(lambda *_: "")
        disk.set(ylabel="Bytes a passage", ylim=(0, max(row["bytes_per_passage"] for row in rows) * 1.15))
        plots.log_axis(disk, [row["passages"] for row in rows], _short)
        disk.set_xlabel("Passages (log scale)")
        figure.legend(*memory.get_legend_handles_labels(), loc="outside upper center", ncols=4)
        _save(figure, path)


def _short(value: float) -> str:
    """Write a tick.

    >>> _short(0.3), _short(30_000), _short(1e6)
    ('0.3', '30k', '1M')
    """
    for unit, sign in ((1e6, "M"), (1e3, "k")):
        if value >= unit:
            return f"{value / unit:g}{sign}"
    return f"{value:g}"


_LOADING = ("open", "search")
"""Stages that take in all passages at once, so that passages a second say nothing."""

_FORMATS = (".pdf", ".png", ".svg")


def check(path: Path | None) -> None:
    """Refuse a file a figure cannot be written to, before anything is measured: ConfigError."""
    if path is not None and path.suffix not in _FORMATS:
        raise ConfigError(f"a file name that ends with {', '.join(_FORMATS)}", str(path), "correct --plot")


def _save(figure: Any, path: Path) -> None:
    """Write the figure in the format its name asks for."""
    check(path)
    path.parent.mkdir(parents=True, exist_ok=True)
    figure.savefig(path, dpi=plots.INCH_PX)
