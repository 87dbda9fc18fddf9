"""Make a baseline of a run."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from harness.errors import ConfigError, RunFolderError
from harness.gate import baseline as kept
from harness.gate import costs, measured
from harness.gate.baseline import Baseline
from harness.gate.measured import Entry, Measured
from harness.gate.thresholds import Thresholds


def update(folder: Path, file: Path, changes: Mapping[str, Any] | None = None) -> Baseline:
    """Write the baseline `file` from the run in `folder`; thresholds that stand in it stay.

    Raises:
        RunFolderError: no run there, a damaged one, or one in which a cell has no result.
        DataError, ConfigError: the file there is no baseline, or a threshold cannot be used.
        StorageError: the file system refused.
    """
    run = measured.read(folder)
    _check_whole(run, folder)
    before = kept.figures_of(file).thresholds if file.exists() else Thresholds()
    thresholds = before.changed(dict(changes or {}))
    reference = thresholds.reference or costs.reference_of(run)
    _check_reference(run, reference)
    kept.write(file, _table(run, thresholds, reference), {key: entry.values for key, entry in run.entries.items()})
    return kept.read(file)


def _table(run: Measured, thresholds: Thresholds, reference: str | None) -> dict[str, Any]:
    return {
        "experiment": run.experiment,
        "harness_version": run.harness_version,
        "split": run.split,
        "depth": run.depth,
        "thresholds": thresholds.changed({"reference": reference}),
        "datasets": {
            name: {"checksum": checksum, "systems": _systems(run, name, reference)}
            for name, checksum in sorted(run.checksums.items())
        },
    }


def _systems(run: Measured, dataset: str, reference: str | None) -> dict[str, Any]:
    found = {}
    for key, entry in sorted(run.entries.items()):
        if key[0] == dataset:
            cost = costs.costs(run, key, reference)
            found[key[1]] = {
                "fingerprints": dict(sorted(entry.fingerprints.items())),
                "queries": len(next(iter(entry.values.values()), {})),
                "measures": kept.means(entry.values),
                "ratios": kept.rounded(cost.ratios),
                "sizes_bytes": {name: round(size) for name, size in sorted(cost.sizes.items())},
            }
    return found


def _check_reference(run: Measured, reference: str | None) -> None:
    known = list(dict.fromkeys(system for _, system in run.entries))
    if reference and reference not in known:
        raise ConfigError(
            "a reference system of the run", repr(reference), f"--set reference=NAME, one of {', '.join(known)}"
        )


def _check_whole(run: Measured, folder: Path) -> None:
    problems = [
        f"{system} on {dataset}: {problem}"
        for (dataset, system), entry in run.entries.items()
        for problem in _problems(entry)
    ]
    if problems or not run.entries:
        raise RunFolderError(
            f"a run in {folder} in which every cell is done",
            "; ".join(problems) or "no cells",
            "mend what failed and run again, or run without these systems: --systems A,B",
        )


def _problems(entry: Entry) -> Iterator[str]:
    yield from entry.problems
    for measure, by_qid in entry.values.items():
        if not all(map(math.isfinite, by_qid.values())):
            yield f"a query's {measure} is not a finite number"
