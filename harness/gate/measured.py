"""What a run folder says, as a gate compares it: for each dataset x system one value a query, and what it cost."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from statistics import fmean

from harness.records import Cell, ExperimentRecord, Meter
from harness.store import RunFolder, complete

Values = Mapping[str, Mapping[str, float]]
"""measure -> qid -> value."""

Key = tuple[str, str]
"""(dataset, system)."""

BRACKET = "bracket"


@dataclass(frozen=True)
class Entry:
    """One system on one dataset, all seeds together.

    fingerprints: seed -> what decides the cell's figures. problems: why seeds have no result. values: means over the
    seeds. costs: name -> figure (milliseconds, bytes), means over the seeds; what was not measured is absent.
    codes: SHA-256 of the sources that made the cells which are done.
    """

    family: str
    fingerprints: Mapping[int, str]
    problems: tuple[str, ...]
    values: Values
    costs: Mapping[str, float]
    codes: frozenset[str] = frozenset()


@dataclass(frozen=True)
class Measured:
    """A run."""

    experiment: str
    harness_version: str
    split: str
    depth: int
    checksums: Mapping[str, str]
    entries: Mapping[Key, Entry]


def read(folder: Path, seeds: Mapping[Key, Collection[int]] | None = None) -> Measured:
    """Read a run folder.

    Args:
        folder: of the run.
        seeds: of a system listed here only these count: a mean with others in it is not what a baseline holds.

    Raises:
        RunFolderError: absent, of another format, or damaged.
    """
    with complete(folder):
        return _read(RunFolder(folder), seeds or {})


def _read(run: RunFolder, seeds: Mapping[Key, Collection[int]]) -> Measured:
    experiment = run.experiment()
    groups: dict[Key, list[Cell]] = {}
    for cell in run.cells():
        groups.setdefault((cell.dataset, cell.system), []).append(cell)
    for key, wanted in seeds.items():
        groups[key] = [cell for cell in groups.get(key, []) if cell.seed in wanted] or groups.get(key, [])
    return Measured(
        experiment=experiment["name"],
        harness_version=experiment["harness_version"],
        split=experiment["split"],
        depth=experiment["depth"],
        checksums=_checksums(experiment),
        entries={key: _entry(run, cells) for key, cells in groups.items() if cells},
    )


def costs_of(meter: Meter) -> dict[str, float]:
    """Pick the costs a gate compares.

    >>> costs_of({"index_bytes": 10, "rss_peak_bytes": {"search": 7}})
    {'memory': 7, 'index': 10}
    """
    found = {
        "latency": meter.get("latency_ms", {}).get("p50"),
        "memory": meter.get("rss_peak_bytes", {}).get("search"),
        "index": meter.get("index_bytes"),
        "parameters": meter.get("parameter_bytes"),
    }
    return {name: value for name, value in found.items() if isinstance(value, int | float)}


def _checksums(experiment: ExperimentRecord) -> dict[str, str]:
    return {name: str(card.get("checksum", "")) for name, card in experiment["datasets"].items()}


def _entry(run: RunFolder, cells: Sequence[Cell]) -> Entry:
    problems = {cell: problem for cell in cells if (problem := run.problem(cell))}
    done = [cell for cell in cells if cell not in problems]
    several = len(cells) > 1
    return Entry(
        family=cells[0].family,
        fingerprints={cell.seed: cell.fingerprint for cell in cells},
        problems=tuple(f"seed {cell.seed} {text}" if several else text for cell, text in problems.items()),
        values=_mean_values([run.per_query(cell) for cell in done]),
        costs=_mean_costs([costs_of(run.meter(cell)) for cell in done]),
        codes=frozenset(status["code"] for cell in done if (status := run.status(cell))),
    )


def _mean_values(seeds: Sequence[Values]) -> dict[str, dict[str, float]]:
    """Average over seeds what all of them measured."""
    if not seeds:
        return {}
    shared = [measure for measure in seeds[0] if all(measure in values for values in seeds)]
    return {
        measure: {
            qid: fmean(values[measure][qid] for values in seeds)
            for qid in seeds[0][measure]
            if all(qid in values[measure] for values in seeds)
        }
        for measure in shared
    }


def _mean_costs(seeds: Sequence[Mapping[str, float]]) -> dict[str, float]:
    if not seeds:
        return {}
    return {name: fmean(costs[name] for costs in seeds) for name in seeds[0] if all(name in costs for costs in seeds)}
