"""Has a system become slower or larger? Latency and memory as ratios within the run, sizes in bytes.

A ratio divides a system's figure by the reference system's of the same run. A machine three times slower is slower for
both, so the ratio stays; seconds of one machine are never compared with seconds of another. Sizes do not depend on the
machine and are compared as they are.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Literal, NamedTuple

from harness.gate.measured import BRACKET, Entry, Key, Measured
from harness.gate.thresholds import Level, Thresholds
from harness.gate.verdicts import Row, Verdict

RATIOS = ("latency", "memory")
SIZES = ("index", "parameters")
USUAL_REFERENCE = "bm25"
"""Its search comes from a library, so a change of this project seldom moves the figure below all ratios."""


class Costs(NamedTuple):
    """What one system costs: ratios to the reference system, sizes in bytes. Not measured: absent."""

    ratios: Mapping[str, float]
    sizes: Mapping[str, float]


class _Limit(NamedTuple):
    """How much growth is let through, and the verdict beyond it."""

    factor: float
    level: Level


def reference_of(measured: Measured) -> str | None:
    """Choose the reference: bm25, else the first system whose latency is known; None where there is none."""
    timed = [
        system
        for (_, system), entry in measured.entries.items()
        if entry.family != BRACKET and "latency" in entry.costs
    ]
    return USUAL_REFERENCE if USUAL_REFERENCE in timed else next(iter(timed), None)


def costs(measured: Measured, key: Key, reference: str | None) -> Costs:
    """Return what a system costs. Of brackets nothing is compared; the reference has no ratio to itself."""
    entry = measured.entries[key]
    if entry.family == BRACKET:
        return Costs({}, {})
    below = _figures(measured.entries.get((key[0], reference or "")))
    ratios = {name: entry.costs[name] / below[name] for name in RATIOS if name in entry.costs and below.get(name)}
    sizes = {name: entry.costs[name] for name in SIZES if name in entry.costs}
    return Costs({} if key[1] == reference else ratios, sizes)


def compare(key: Key, before: Costs, now: Costs, thresholds: Thresholds) -> list[Row]:
    """Judge every cost the baseline has; one that was not measured this time is WARN."""
    limits = {
        "latency": _Limit(thresholds.latency_factor, thresholds.latency),
        "memory": _Limit(thresholds.memory_factor, thresholds.memory),
        **dict.fromkeys(SIZES, _Limit(1 + thresholds.size_tolerance, thresholds.size)),
    }
    return [
        *_rows(key, before.ratios, now.ratios, limits, "ratio"),
        *_rows(key, before.sizes, now.sizes, limits, "bytes"),
    ]


def _figures(entry: Entry | None) -> Mapping[str, float]:
    return {} if entry is None else entry.costs


def _rows(
    key: Key,
    before: Mapping[str, float],
    now: Mapping[str, float],
    limits: Mapping[str, _Limit],
    unit: Literal["ratio", "bytes"],
) -> Iterator[Row]:
    for name, figure in before.items():
        if limits[name].level != "off":
            verdict, reason = _verdict(figure, now.get(name), limits[name], unit)
            yield Row(*key, name, verdict, reason, figure, now.get(name), None, unit)


def _verdict(before: float, now: float | None, limit: _Limit, unit: str) -> tuple[Verdict, str]:
    if now is None:
        return Verdict.WARN, "was not measured" + (", or not of the reference system" if unit == "ratio" else "")
    if now > before * limit.factor:
        grown = f"{now / before:.2f} times" if before else f"{now:g}, after 0: more than"
        return Verdict(limit.level.upper()), f"{grown} the baseline's; {limit.factor:g} times is let through"
    if unit == "bytes" and now * limit.factor < before:
        # A size that shrinks may be good work, or an index of half the corpus.
        return Verdict.WARN, f"only {now / before:.2f} times the baseline's: if that is meant, --update"
    return Verdict.OK, "the same" if now == before else f"{now / before:.2f} times the baseline's"
