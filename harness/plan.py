"""Turn an experiment into cells before anything is run or written, so that a slip fails in the first second."""

from __future__ import annotations

import importlib
import re
import sys
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypedDict

from harness import __version__, datasets, measures, outside, registry, trecfile
from harness.errors import ConfigError, DataError, DependencyError
from harness.experiment import Experiment, fingerprint
from harness.outside import Outside
from harness.progress import SILENT, Progress
from harness.records import OUTSIDE
from harness.retriever import System
from harness.store import FORMAT, Cell, RunFolder, slug
from harness.swap import kept_beside
from harness.types import Dataset, Split
from harness.validation import validated

INTERVALS = "Slices of the queries have confidence intervals for the primary measure alone."
ONE_FILE = "An outside run is one file: it counts for every seed, and its spread over the seeds says nothing."
DEV_WITHHELD = "The dev queries are evaluated, so the systems did not get them to choose settings on."


@dataclass(frozen=True)
class Plan:
    """All that a run needs, checked.

    experiment: with every system's settings filled in.
    datasets: name (of the dataset itself, not the path it was asked for by) -> dataset; systems: label -> system.
    outside: (dataset, label) -> outside run. cells: in the order they run.
    """

    experiment: Experiment
    datasets: Mapping[str, Dataset]
    systems: Mapping[str, System]
    outside: Mapping[tuple[str, str], Outside]
    cells: tuple[Cell, ...]

    def notes(self) -> list[str]:
        """Say what a reader of the results must know about how they came about."""
        notes = [INTERVALS, *([DEV_WITHHELD] if self.experiment.split == "dev" else [])]
        notes += [note for found in self.outside.values() for note in found.notes]
        return notes + [ONE_FILE] * (bool(self.outside) and len(self.experiment.seeds) > 1)

    def settings(self, cell: Cell) -> dict[str, Any]:
        """Return the settings of a cell's system; of an outside run, which file it is."""
        if cell.outside:
            found = self.outside[cell.dataset, cell.system]
            return {"file": found.source.file, "sha256": found.sha256}
        return self.experiment.systems[cell.system].settings()


class Spec(TypedDict):
    """spec.json: what the child process is told.

    data: the stored dataset; training: the folder in which a training keeps what it goes on from once it was stopped.
    Both are relative to the cell's folder. index: digest of all that decides what is saved as the index; the same in
    two cells that differ in how they are searched or measured only.
    """

    format: int
    dataset: str
    data: str
    training: str
    system: str
    registered: str
    settings: dict[str, Any]
    seed: int
    split: str
    limit: int | None
    depth: int
    latency_queries: int
    latency_warmup: int
    batch_size: int
    threads: int
    fingerprint: str
    index: str


def prepare(experiment: Experiment, out: Path, progress: Progress = SILENT) -> Plan:
    """Check an experiment, load its datasets and list its cells in the folder `out`; writes nothing.

    Args:
        experiment: what is to be run.
        out: the run folder.
        progress: told how far the reading of each dataset is.

    Raises:
        ConfigError: a measure, a system, a setting or a pair of names that cannot be used.
        DataError: a dataset or an outside run that cannot be read, or a dataset without queries in the evaluated split.
        DependencyError: a system's package is not installed.
    """
    measured = _with_measures(experiment)
    labels = [*measured.systems, *measured.runs]
    _check_folders(labels, {"data": "the dataset's own folder"}, "systems or outside runs (give one another label)")
    systems = {label: resolve(choice.system) for label, choice in measured.systems.items()}
    resolved = _with_settings(measured, systems)
    loaded = [_load(name, resolved, progress) for name in resolved.datasets]
    _check_folders([dataset.name for dataset in loaded], {"report": "the report"}, "datasets (leave one out)")
    by_name = {dataset.name: dataset for dataset in loaded}
    found = _outside(resolved, dict(zip(resolved.datasets, by_name, strict=True)), by_name)
    return Plan(resolved, by_name, systems, found, tuple(_cells(resolved, by_name, systems, found, RunFolder(out))))


def resolve(name: str) -> System:
    """Return the system registered as `name`, or the one at "package.module:ATTRIBUTE".

    Raises:
        UnknownNameError: nobody registered it.
        ConfigError: there is no such module or attribute, or it is no System.
        DependencyError: importing it needs a package that is not installed.
    """
    try:
        return _imported(name) if ":" in name else registry.get(name)
    except ModuleNotFoundError as error:
        raise DependencyError(
            f"the packages of the system {name!r}", f"no module {error.name!r}", f"install what holds {error.name!r}"
        ) from error
    except (TypeError, ValueError) as error:  # "./my.py:S", ":S"
        got, fix = f"{name!r} ({error})", 'name a registered system, or write "package.module:ATTRIBUTE"'
        raise ConfigError("the name of a module before ':'", got, fix) from error


def evaluated(dataset: Dataset, split: str, limit: int | None) -> Split:
    """Return the queries that are evaluated: the first `limit` of `split`."""
    return dataset.split(split).head(limit)


def has_queries(dataset: Dataset) -> bool:
    """Tell whether any split has queries; a set without any can be indexed and searched, but not evaluated."""
    return any(map(len, (dataset.train, dataset.dev, dataset.test)))


def spec(plan: Plan, cell: Cell, threads: int) -> Spec:
    """Write down what the child processes of a cell need to know."""
    experiment, index = plan.experiment, "" if cell.outside else _index_fingerprint(plan, cell)
    # A stopped training goes on for whoever would train the same.
    training = kept_beside(cell.folder, index or cell.fingerprint)
    return Spec(
        format=FORMAT,
        dataset=cell.dataset,
        data="../../data",
        training=(Path("..") / training.relative_to(cell.folder.parent)).as_posix(),
        system=cell.system,
        registered=cell.registered,
        settings=plan.settings(cell),
        seed=cell.seed,
        split=experiment.split,
        limit=experiment.limit,
        depth=experiment.depth,
        latency_queries=experiment.latency.queries,
        latency_warmup=experiment.latency.warmup,
        batch_size=experiment.batch.size,
        threads=threads,
        fingerprint=cell.fingerprint,
        index=index,
    )


def _imported(name: str) -> System:
    module, _, attribute = name.partition(":")
    system = getattr(importlib.import_module(module), attribute, None)
    if not isinstance(system, System):
        raise ConfigError(
            f"{name!r} to be a harness.retriever.System",
            "nothing of that name" if system is None else type(system).__name__,
            'name a registered system, or write "package.module:ATTRIBUTE"',
        )
    return system


def _with_measures(experiment: Experiment) -> Experiment:
    """Write measures by their formal names; refuse unknown ones and cut-offs deeper than the lists of hits."""
    names = [measures.parse(name) for name in experiment.measures]
    primary = measures.parse(experiment.primary)
    if primary not in names:
        raise ConfigError(
            "the primary measure among the measures",
            f"primary {primary!r}, measures {', '.join(names)}",
            "add it to measures, or choose another primary",
        )
    deepest = max((int(found[1]) for name in names if (found := re.search(r"@(\d+)$", name))), default=0)
    if deepest > experiment.depth:
        raise ConfigError(
            f"a depth of at least {deepest}, the deepest cut-off of the measures",
            f"depth {experiment.depth}",
            "raise depth, or choose measures with smaller cut-offs",
        )
    return Experiment.from_table(
        {**experiment.table(), "measures": names, "primary": primary}, f"experiment {experiment.name!r}"
    )


def _check_folders(names: Iterable[str], taken: Mapping[str, str], kind: str) -> None:
    """Refuse names that would share a folder, with each other or with what is `taken` (folder -> by what)."""
    owners = dict(taken)
    for name in names:
        # Some file systems do not tell upper from lower case.
        folder = slug(name).lower()
        if folder in owners:
            raise ConfigError(
                "a folder for each name", f"{folder!r} for {owners[folder]} and {name!r}", f"change one of these {kind}"
            )
        owners[folder] = repr(name)


def _with_settings(experiment: Experiment, systems: Mapping[str, System]) -> Experiment:
    """Fill in the default of every setting of every system."""
    table = experiment.table()
    for label, system in systems.items():
        origin = f"experiment {experiment.name!r}"
        settings = validated(system.config, experiment.systems[label].settings(), origin, ("systems", label))
        table["systems"][label] = {**settings.model_dump(mode="json"), "system": experiment.systems[label].system}
    return Experiment.from_table(table, f"experiment {experiment.name!r}")


def _load(name: str, experiment: Experiment, progress: Progress) -> Dataset:
    dataset = datasets.load(name, experiment.datasets[name], progress)
    if not len(dataset.split(experiment.split)) and has_queries(dataset):
        raise DataError(
            f"queries in the split {experiment.split!r} of {name}",
            "none",
            "choose another dataset, or another split with --set split=dev",
        )
    return dataset


def _outside(
    experiment: Experiment, names: Mapping[str, str], loaded: Mapping[str, Dataset]
) -> dict[tuple[str, str], Outside]:
    """Read every outside run once, so that one that cannot be used is refused before anything starts."""
    found = {}
    for source in outside.sources(experiment.runs, names):
        dataset = loaded[source.dataset]
        split = evaluated(dataset, experiment.split, experiment.limit)
        found[source.dataset, source.label], _ = outside.read(source, dataset, split, experiment.depth)
    return found


def _cells(
    experiment: Experiment,
    loaded: Mapping[str, Dataset],
    systems: Mapping[str, System],
    found: Mapping[tuple[str, str], Outside],
    folder: RunFolder,
) -> Iterator[Cell]:
    for name, dataset in loaded.items():
        for label in (*experiment.systems, *(label for own, label in found if own == name)):
            if label in systems:
                registered, family = experiment.systems[label].system, systems[label].family
                settings = experiment.systems[label].settings()
            else:
                # What the file is called decides nothing.
                registered, family, settings = OUTSIDE, OUTSIDE, {"sha256": found[name, label].sha256}
            for seed in experiment.seeds:
                yield Cell(
                    dataset=name,
                    system=label,
                    registered=registered,
                    family=family,
                    seed=seed,
                    folder=folder.cell_folder(name, label, seed),
                    fingerprint=_cell_fingerprint(experiment, dataset, registered, settings, seed),
                )


def _index_fingerprint(plan: Plan, cell: Cell) -> str:
    """Digest everything that decides what a cell saves as its index, but the sources; empty where no other may take it.

    Settings of the search are left out where there are no dev queries to choose anything on.
    """
    system, dataset = plan.systems[cell.system], plan.datasets[cell.dataset]
    if system.sees_judgements:
        return ""
    withheld = plan.experiment.split == "dev"
    left_out = system.of_search if withheld or not len(dataset.dev) else frozenset[str]()
    return fingerprint(
        {
            "registered": cell.registered,
            "settings": {name: value for name, value in plan.settings(cell).items() if name not in left_out},
            "seed": cell.seed,
            "dataset": dataset.card["checksum"],
            "dev": not withheld,
            "source": _source(system),
            "harness": __version__,
        }
    )


def _source(system: System) -> str:
    """Digest the file that says how a system is loaded: that of one's own system changes more often than ours."""
    module = sys.modules.get(getattr(system.load, "__module__", ""))
    file = Path(getattr(module, "__file__", None) or "")
    return trecfile.sha256(file) if file.is_file() else ""


def _cell_fingerprint(
    experiment: Experiment, dataset: Dataset, registered: str, settings: Mapping[str, Any], seed: int
) -> str:
    """Digest everything that decides a cell's figures, except the sources (status.json keeps those as `code`)."""
    return fingerprint(
        {
            "registered": registered,
            "settings": settings,
            "seed": seed,
            "dataset": dataset.card["checksum"],
            "split": experiment.split,
            "limit": experiment.limit,
            "depth": experiment.depth,
            "measures": experiment.measures,
            "latency": experiment.latency.model_dump(),
            "batch": experiment.batch.model_dump(),
            "harness": __version__,
        }
    )
