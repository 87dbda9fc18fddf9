"""What keeps a run and a baseline from being compared, and what else differs between them."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from harness.environment import code_fingerprint
from harness.gate.baseline import Baseline, KeptSystem
from harness.gate.measured import Entry, Key, Measured, Values
from harness.gate.verdicts import Row, failure

WHOLE = ("cell", "queries")
"""What a verdict of `missing` is about where nothing of the system can be compared."""


def conditions(baseline: Baseline, run: Measured) -> Iterator[Row]:
    """Compare what holds for the whole run; where it differs no figure can be compared."""
    figures = baseline.figures
    if run.split != figures.split:
        yield failure("", "", "split", f"is {run.split}, in the baseline {figures.split}; nothing else is compared")
    if run.depth != figures.depth:
        yield failure("", "", "depth", f"is {run.depth}, in the baseline {figures.depth}; nothing else is compared")


def datasets(baseline: Baseline, run: Measured) -> Iterator[Row]:
    """Say which datasets of the baseline the run has not, or has with other content."""
    for name, dataset in baseline.figures.datasets.items():
        if name not in run.checksums:
            yield failure(name, "", "dataset", "is not in the run")
        elif run.checksums[name] != dataset.checksum:
            reason = f"changed: {run.checksums[name][:12] or 'none'}, in the baseline {dataset.checksum[:12]}"
            yield failure(name, "", "checksum", f"{reason}; the figures are of other data and are not compared")


def on_same_data(baseline: Baseline, run: Measured) -> list[Key]:
    """List the cells of the baseline whose dataset the run has with the same content."""
    datasets = baseline.figures.datasets
    return [key for key in baseline.cells() if run.checksums.get(key[0]) == datasets[key[0]].checksum]


def missing(baseline: Baseline, run: Measured, key: Key) -> list[Row]:
    """Say what the baseline has of a system and the run has not."""
    entry, before = run.entries.get(key), baseline.cells()[key]
    if entry is None:
        return [failure(*key, "cell", "is not in the run")]
    if entry.problems:
        return [failure(*key, "cell", "; ".join(entry.problems))]
    seeds = [str(seed) for seed in before.fingerprints if seed not in entry.fingerprints]
    if seeds:
        return [failure(*key, "cell", f"seed {', '.join(seeds)} is not in the run")]
    rows = [failure(*key, m, "was not measured") for m in before.measures if m not in entry.values]
    lost = _lost_queries(baseline.values.get(key, {}), entry)
    return [failure(*key, "queries", f"{lost} of {before.queries} are missing")] if lost else rows


def _lost_queries(before: Values, entry: Entry) -> int:
    """Count the queries of the baseline that lack a value of a measure the run has."""
    return max((len(before[m].keys() - entry.values[m].keys()) for m in before if m in entry.values), default=0)


def notes(baseline: Baseline, run: Measured, comparable: Sequence[Key]) -> Iterator[str]:
    """Say what the run has more than the baseline, which settings changed, and what other sources than these made."""
    known = baseline.cells()
    new = [f"{system} on {dataset}" for dataset, system in run.entries if (dataset, system) not in known]
    if new:
        yield f"not in the baseline: {', '.join(new)}; --update takes them in"
    measures = {m for key in comparable for m in run.entries[key].values.keys() - known[key].measures.keys()}
    if measures:
        yield f"measures that are not in the baseline: {', '.join(sorted(measures))}"
    changed = [f"{key[1]} on {key[0]}" for key in comparable if _settings_changed(known[key], run.entries[key])]
    if changed:
        version = f"{baseline.figures.harness_version} and {run.harness_version}"
        versions = f" (harness {version})" if run.harness_version != baseline.figures.harness_version else ""
        yield f"settings differ from the baseline's{versions}: {', '.join(changed)}"
    here = code_fingerprint()
    others = [f"{system} on {dataset}" for (dataset, system), entry in run.entries.items() if entry.codes - {here}]
    if others:
        yield f"made by other sources than those here, run again with --fresh to judge these: {', '.join(others)}"


def _settings_changed(before: KeptSystem, entry: Entry) -> bool:
    return any(entry.fingerprints.get(seed) != text for seed, text in before.fingerprints.items())
