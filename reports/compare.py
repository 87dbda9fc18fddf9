"""Overlay several runs in one report: systems are named by their run, and data are joined only where they are the same.

Same means: one checksum, one split and as many queries. Where runs hold other data under one name, each stands in a
section of its own with a warning, and no table or figure holds both.
"""

from __future__ import annotations

import os
from collections import Counter
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any, NamedTuple

from harness.errors import ConfigError
from harness.printable import printable
from harness.store import slug
from reports import build as report_build
from reports.load import MEASURE_ORDER, Report, Row, Section, by_family, load
from reports.marks import without_p
from reports.overlay import named, paired, untested
from reports.units import label, p_equals, score, signed

OURS = {"index.html", "report.md", "tables", "figures"}
"""What the folder of a comparison holds."""


class Part(NamedTuple):
    """What one run says of one dataset."""

    run: str
    section: Section


def build(folders: Sequence[Path], out: Path) -> Path:
    """Write the report that overlays the runs into `out` and return the path of its index.html.

    Raises:
        ConfigError: fewer than two runs, or `out` holds something else.
        RunFolderError, DataError: a run cannot be read.
        StorageError: the file system refused.
    """
    if len(folders) < 2:
        raise ConfigError("two or more run folders", str(len(folders)), "harness compare RUN RUN --out DIR")
    strange = sorted(p.name for p in out.iterdir() if p.name not in OURS) if out.is_dir() else []
    if strange or (out.exists() and not out.is_dir()):
        what = f"{out} with {strange[0]} in it" if strange else f"the file {out}"
        raise ConfigError("a new folder, or that of an earlier comparison", what, "choose another folder with --out")
    target = out.resolve()
    report = merge([load(folder) for folder in folders], folders, target)
    return report_build.publish(target, lambda new: report_build.write(report, new, sentences(report)))


def merge(reports: Sequence[Report], folders: Sequence[Path], target: Path) -> Report:
    """Make one report of several; `target` is where its page will lie."""
    names = run_names(reports, folders)
    measures = dict.fromkeys(measure for report in reports for measure in report.measures)
    ordered = [m for m in MEASURE_ORDER if m in measures] + [m for m in measures if m not in MEASURE_ORDER]
    primary = reports[0].primary
    parts: dict[str, list[Part]] = {}
    for name, report in zip(names, reports, strict=True):
        for section in report.sections:
            parts.setdefault(section.dataset, []).append(Part(name, _moved(section, name, target)))
    sections = [
        _joined(group, len(groups) > 1, groups, primary) for groups in map(_groups, parts.values()) for group in groups
    ]
    seeds = sorted({seed for report in reports for seed in report.seeds})
    experiment, warnings = _experiment(names, reports), _warnings(names, reports, primary)
    return Report(experiment, tuple(sections), tuple(ordered), primary, tuple(seeds), "", warnings)


def run_names(reports: Sequence[Report], folders: Sequence[Path]) -> list[str]:
    """Name each run by its experiment; where two share that, by the folder; where they share that too, by a number."""
    for names in ([r.text("name") for r in reports], [printable(f.resolve().name) for f in folders]):
        if len(set(names)) == len(names) and all(names):
            return names
    return [f"run {number}" for number in range(1, len(reports) + 1)]


def _moved(section: Section, run: str, target: Path) -> Section:
    """Name the systems by their run, and link their cells from the page."""
    rows = []
    for row in section.rows:
        cells = (replace(c, folder=Path(os.path.relpath(c.path.absolute(), target)).as_posix()) for c in row.cells)
        rows.append(replace(row, system=named(run, row.system), cells=tuple(cells)))
    return replace(section, rows=tuple(rows), comparisons=(), answering=())


def _key(section: Section) -> tuple[str, str, int | None]:
    counts = (score.n for row in section.rows if (score := row.score(section.primary)))
    return str(section.card.get("checksum") or ""), section.split, next(counts, None)


def _groups(parts: Sequence[Part]) -> list[list[Part]]:
    """Put together what was measured on the same queries of the same data; data without a checksum stand alone."""
    found: dict[tuple[Any, ...], list[Part]] = {}
    for i, part in enumerate(parts):
        key = _key(part.section)
        found.setdefault(key if key[0] else (i, *key), []).append(part)
    for *data, n in [key for key in found if key[-1] is None]:
        # Nothing was measured there, which is no sign of other data.
        same = next((key for key in found if key[:-1] == tuple(data) and key[-1] is not None), None)
        if same is not None:
            found[same] += found.pop((*data, n))
    return list(found.values())


def _joined(parts: Sequence[Part], apart: bool, groups: Sequence[Sequence[Part]], primary: str) -> Section:
    first = parts[0].section
    rows = by_family(row for part in parts for row in part.section.rows)
    dataset = f"{first.dataset} ({', '.join(p.run for p in parts)})" if apart else first.dataset
    data = next((p.section.data for p in parts if p.section.data.is_dir()), first.data)
    warning = _apart(first.dataset, groups) if apart else ""
    own = replace(first, dataset=dataset, slug=slug(dataset), rows=rows, primary=primary, data=data)
    return replace(own, warning=warning, comparisons=paired(own.rows, [part.run for part in parts]))


def _apart(dataset: str, groups: Sequence[Sequence[Part]]) -> str:
    """Say why the runs are not joined on a dataset."""
    said = []
    for group in groups:
        checksum, split, n = _key(group[0].section)
        data = f"checksum {checksum[:8]}" if checksum else "no checksum"
        said.append(f"{' and '.join(part.run for part in group)}: {data}, {n or 'no'} {split} queries")
    return (
        f"The runs hold different data under the name {dataset} ({'; '.join(said)}). They stand in sections of their "
        "own; figures of one must not be set beside those of another."
    )


def _experiment(names: Sequence[str], reports: Sequence[Report]) -> dict[str, Any]:
    """Say of each run what experiment.json says of it, under its name."""
    told = ("created", "fingerprint", "harness_version", "split", "depth")
    texts = {key: _each(names, [report.text(key) for report in reports]) for key in told}
    by_run = {
        key: {name: report.experiment.get(key) or {} for name, report in zip(names, reports, strict=True)}
        for key in ("config", "environment")
    }
    notes = [
        f"{name}: {note}"
        for name, report in zip(names, reports, strict=True)
        for note in report.experiment.get("notes") or ()
    ]
    notes.append("Values of several seeds are averaged query by query before two systems are compared.")
    title = " and ".join(names) if len(names) == 2 else ", ".join(names)
    words = {
        "name": title,
        "title": f"{title} compared",
        "description": "Systems are named by their run. A dataset is shared only where the runs hold the same data.",
    }
    return words | texts | by_run | {"notes": notes}


def _each(names: Sequence[str], texts: Sequence[str]) -> str:
    """Write one text where all are the same, else each with the name of its run."""
    if len(set(texts)) == 1:
        return texts[0]
    return "; ".join(f"{name}: {text}" for name, text in zip(names, texts, strict=True))


def _warnings(names: Sequence[str], reports: Sequence[Report], primary: str) -> tuple[str, ...]:
    said = []
    ran_on = [frozenset().union(*(section.machines for section in report.sections)) for report in reports]
    if len(frozenset().union(*ran_on)) > 1:
        listed = "; ".join(
            f"{name}: {' and '.join(sorted(own))}" for name, own in zip(names, ran_on, strict=True) if own
        )
        said.append(
            f"The runs come from different machines ({listed}), so times and peaks of memory must not be compared."
        )
    if any(report.primary != primary for report in reports):
        said.append(f"The runs have different primary measures; {label(primary)}, that of {names[0]}, is shown.")
    return tuple(said)


def sentences(report: Report) -> dict[str, tuple[str, ...]]:
    """Return dataset -> how each system that took part in more than one run did in them."""
    return {section.dataset: tuple(_sentences(section)) for section in report.sections}


def _sentences(section: Section) -> list[str]:
    counted = Counter(_system(row) for row in section.rows)
    shared = [system for system, n in counted.items() if n > 1]
    if not shared:
        return [f"No system of {section.dataset} took part in more than one run."]
    said = [f"{label(section.primary)} on {section.dataset}, system by system."]
    for system in shared:
        own = [row for row in section.rows if _system(row) == system and row.score(section.primary)]
        if len(own) > 1:
            first, *others = own
            said.append(f"{_figure(first, section)}; {'; '.join(_against(row, first, section) for row in others)}.")
    return said


def _system(row: Row) -> str:
    return row.system.partition(": ")[2]


def _figure(row: Row, section: Section) -> str:
    found = row.score(section.primary)
    return f"{row.system} {score(found.value if found else None)}"


def _against(row: Row, first: Row, section: Section) -> str:
    found = section.compare(row.system, first.system)
    if found is None:
        return f"{_figure(row, section)} (not tested: {untested(row, first, section.primary)})"
    if found.p_holm is None:
        return f"{_figure(row, section)} ({signed(found.difference)}, {without_p(found)})"
    verdict = p_equals(found.p_holm) + ("" if found.significant else ", not significant")
    return f"{_figure(row, section)} ({signed(found.difference)}, {verdict})"
