"""Judge a run by a baseline."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from harness.errors import ConfigError
from harness.gate import baseline as kept
from harness.gate import costs, differing, measured, quality
from harness.gate.baseline import Baseline, KeptSystem
from harness.gate.costs import Costs
from harness.gate.measured import Key, Measured
from harness.gate.thresholds import Thresholds
from harness.gate.verdicts import Outcome, Row


def gate(folder: Path, file: Path, changes: Mapping[str, Any] | None = None) -> Outcome:
    """Compare the run in `folder` with the baseline in `file`.

    Args:
        folder: a run folder.
        file: the baseline's JSON file.
        changes: thresholds that count instead of the baseline's.

    Raises:
        RunFolderError: no run there, or a damaged one.
        DataError, ConfigError: no baseline there, a damaged one, or a threshold that cannot be used.
    """
    found = kept.read(file)
    seeds = {key: system.fingerprints.keys() for key, system in found.cells().items()}
    return judge(found, measured.read(folder, seeds), found.figures.thresholds.changed(dict(changes or {})))


def judge(baseline: Baseline, run: Measured, thresholds: Thresholds) -> Outcome:
    """Compare what was measured with a baseline.

    Quality is compared where dataset, split, depth, queries and measures are the baseline's; whatever differs there is
    FAIL with a reason. What is new in the run is noted, and so is what other sources made, or too few queries.

    Raises:
        ConfigError: the thresholds name a reference system the baseline does not know.
    """
    _check_reference(baseline, thresholds)
    conditions = list(differing.conditions(baseline, run))
    if conditions:
        return Outcome(tuple(conditions), ())
    rows, comparable = list(differing.datasets(baseline, run)), []
    for key in differing.on_same_data(baseline, run):
        missing = differing.missing(baseline, run, key)
        rows += missing
        if not any(row.what in differing.WHOLE for row in missing):
            comparable.append(key)
    rows += _compared(baseline, run, comparable, thresholds)
    order = {key: place for place, key in enumerate(baseline.cells())}
    rows.sort(key=lambda row: order.get((row.dataset, row.system), -1))
    few = quality.too_few(kept.sizes(baseline), thresholds.alpha)
    return Outcome(tuple(rows), (*differing.notes(baseline, run, comparable), *([few] if few else [])))


def _check_reference(baseline: Baseline, thresholds: Thresholds) -> None:
    known = {system for _, system in baseline.cells()}
    if thresholds.reference and thresholds.reference not in known:
        raise ConfigError(
            "a reference system of the baseline", repr(thresholds.reference), f"name one of {', '.join(sorted(known))}"
        )


def _compared(baseline: Baseline, run: Measured, keys: list[Key], thresholds: Thresholds) -> list[Row]:
    pairs = {key: _paired(baseline.values[key], run.entries[key].values) for key in keys if key in baseline.values}
    rows = quality.compare(pairs, thresholds)
    cells = baseline.cells()
    for key in keys:
        before = _before(cells, key, baseline.figures.thresholds.reference, thresholds.reference)
        rows += costs.compare(key, before, costs.costs(run, key, thresholds.reference), thresholds)
    return rows


def _paired(before: measured.Values, now: measured.Values) -> quality.Paired:
    """Pair the measures both sides have, on the queries of the baseline."""
    return {m: (before[m], {qid: now[m][qid] for qid in before[m]}) for m in before if m in now}


def _before(cells: Mapping[Key, KeptSystem], key: Key, kept_reference: str | None, reference: str | None) -> Costs:
    """Return the costs of the baseline, its ratios to another reference where one was asked for."""
    ratios, sizes = cells[key].ratios, cells[key].sizes_bytes
    if reference == kept_reference:
        return Costs(ratios, sizes)
    if key[1] == reference:
        return Costs({}, sizes)
    below = cells[key[0], reference].ratios if reference and (key[0], reference) in cells else {}
    # The reference of the baseline has no ratio to itself in the file; it is 1.
    own = dict.fromkeys(below, 1.0) if key[1] == kept_reference else ratios
    return Costs({name: own[name] / below[name] for name in own if below.get(name)}, sizes)
