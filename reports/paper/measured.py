"""What was measured here, from run folders and from files of kept results, as the paper's tables ask for it."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from statistics import fmean
from typing import Any

from harness import kept
from harness.errors import DataError, RunFolderError
from harness.kept import Asked, KeptCell, asked
from harness.store import RunFolder
from reports import units
from reports.paper.recipes import Recipe

SHOWN = 8
"""Digits of a fingerprint or a checksum."""
ALL = "all"
_NEEDED: Mapping[str, str] = {"capacity": "self-retrieval", "reranking": "self-rerank"}
"""Shape of a figure -> the system without which it shows nothing."""


def fingerprints(cells: Iterable[KeptCell]) -> str:
    """Return the first digits of the fingerprint of each cell."""
    return ", ".join(cell["fingerprint"][:SHOWN] for cell in cells)


@dataclass(frozen=True)
class Found:
    """One cell and where it was found: the file of kept results, or the folder of its run."""

    cell: KeptCell
    where: str


@dataclass(frozen=True)
class Group:
    """One system on one dataset, all its seeds.

    others: seeds with other settings than the one that ended last; of another recipe, they take no part.
    """

    system: str
    family: str
    cells: tuple[KeptCell, ...]
    others: tuple[KeptCell, ...] = ()

    @property
    def fingerprints(self) -> str:
        """First digits of the fingerprint of each cell, which name the cells a figure comes from."""
        return fingerprints(self.cells)

    @property
    def settings(self) -> Mapping[str, Any]:
        """Settings of the system, the same for all seeds."""
        return self.cells[0]["settings"]

    @property
    def registered(self) -> str:
        """Name of the system in the registry."""
        return self.cells[0]["registered"]

    def value(self, measure: str) -> float | None:
        """Average a measure ("Success@1"), or a figure of the answers ("answers.exact_match"), over the seeds."""
        found = [value for cell in self.cells if (value := _value(cell, measure)) is not None]
        return fmean(found) if found else None

    def percent(self, measure: str) -> float | None:
        """Average a measure as the paper prints it."""
        value = self.value(measure)
        return None if value is None else 100 * value

    def meter(self, key: str) -> float | None:
        """Average one figure of meter.json over the seeds that hold it."""
        found = [float(value) for cell in self.cells if (value := cell["meter"].get(key)) is not None]  # type: ignore[arg-type]
        return fmean(found) if found else None


@dataclass(frozen=True)
class Data:
    """One dataset as one experiment used it.

    label: names it in heads and notes; its name alone, where nothing beside it is called so. asked: which of its
    queries were evaluated. sample: which it had been cut to, in words; empty where it has them all.
    """

    experiment: str
    name: str
    label: str
    asked: Asked
    sample: str
    corpus: Mapping[str, int]
    groups: Mapping[str, Group]

    @property
    def checksum(self) -> str:
        """Of passages, queries and judgements."""
        return self.asked.checksum

    @property
    def queries(self) -> int:
        """How many were evaluated."""
        return self.asked.n

    @property
    def described(self) -> str:
        """Name, number of queries, how they were chosen, and first digits of the checksum."""
        split = "" if self.asked.split == "test" else f"{self.asked.split} "
        chosen = f": {self.sample}" if self.sample else ""
        return f"{self.name} ({units.count(self.queries)} {split}queries{chosen}, data {self.checksum[:SHOWN]})"


@dataclass(frozen=True)
class Measured:
    """All that was measured in some experiments; `places`: where it was found."""

    experiments: tuple[str, ...]
    data: tuple[Data, ...]
    places: tuple[str, ...]

    @property
    def experiment(self) -> str:
        """Names of the experiments, mostly of one."""
        return ", ".join(self.experiments)

    @property
    def brief(self) -> str:
        """Say it on the face of a figure, which has room for one or two names."""
        return self.experiment if len(self.experiments) < 3 else f"{len(self.experiments)} experiments"

    @property
    def described(self) -> str:
        """Say of each experiment on which data it was."""
        return "; ".join(
            f"experiment {name} on " + "; ".join(data.described for data in self.data if data.experiment == name)
            for name in self.experiments
        )

    @property
    def groups(self) -> tuple[Group, ...]:
        """Every system on every dataset."""
        return tuple(group for data in self.data for group in data.groups.values())

    @property
    def systems(self) -> tuple[str, ...]:
        """Labels in the order in which they came."""
        return tuple(dict.fromkeys(label for data in self.data for label in data.groups))


def gather(files: Sequence[Path], folders: Sequence[Path]) -> list[Found]:
    """Read the cells of files of kept results and of run folders; of one found twice the later one counts.

    Raises:
        RunFolderError: a file or folder is not what it should be.
    """
    found: dict[tuple[str, str, str, int], Found] = {}
    for cell, where in (*_of_files(files), *_of_folders(folders)):
        found[cell["experiment"], cell["dataset"], cell["system"], cell["seed"]] = Found(cell, where)
    return list(found.values())


def _of_files(files: Iterable[Path]) -> Iterable[tuple[KeptCell, str]]:
    for file in files:
        if not file.is_file():
            fix = "name a file that `harness keep` wrote"
            raise RunFolderError(f"a file of kept results at {file}", "no such file", fix)
        yield from ((cell, file.name) for cell in kept.read(file))


def _of_folders(folders: Iterable[Path]) -> Iterable[tuple[KeptCell, str]]:
    for folder in folders:
        yield from ((cell, str(folder)) for cell in kept.finished_cells(RunFolder(folder)))


def choose(
    recipe: Recipe, found: Sequence[Found], experiments: Sequence[str] = (), paper_scale: Sequence[str] = ()
) -> Measured | None:
    """Take the results that fill a table: the first shipped experiment that does, else those of the paper's scale.

    Args:
        recipe: of the table.
        found: all there is.
        experiments: take these instead, beside one another.
        paper_scale: the experiments that redo it at full size (`reports.paper.scale.names`), beside one another too.

    Raises:
        DataError: there are no results of one of the `experiments` that were asked for.

    Returns:
        The results on the datasets on which the measures of the table were taken; None where there are none.
    """
    there = dict.fromkeys(f.cell["experiment"] for f in found)
    if missing := [name for name in experiments if name not in there]:
        known = ", ".join(there) or "none"
        raise DataError(f"results of the experiment {missing[0]!r}", f"results of {known}", "name its run folder")
    candidates = [experiments] if experiments else [*((name,) for name in recipe.experiments), paper_scale]
    chosen = (_together(recipe, found, names) for names in candidates)
    return next((measured for measured in chosen if measured), None)


def _together(recipe: Recipe, found: Sequence[Found], names: Sequence[str]) -> Measured | None:
    """Put the results of some experiments beside one another, as far as they fill a table."""
    data = [d for name in dict.fromkeys(names) for d in _of_experiment(recipe, found, name)]
    if not data:
        return None
    used = tuple(dict.fromkeys(d.experiment for d in data))
    places = dict.fromkeys(f.where for f in found if f.cell["experiment"] in used)
    return Measured(used, tuple(replace(d, label=_label(d, data)) for d in data), tuple(places))


def _of_experiment(recipe: Recipe, found: Sequence[Found], name: str) -> list[Data]:
    cells = [f.cell for f in found if f.cell["experiment"] == name]
    keys = dict.fromkeys((cell["dataset"], asked(cell)) for cell in cells)
    return [d for key in keys if _fills(recipe, d := _data(name, *key, cells))]


def _label(data: Data, beside: Sequence[Data]) -> str:
    """Name a dataset so that its columns are told from others of the same name: of its experiment, or of another."""
    named = [d.experiment for d in beside if d.name == data.name]
    name = data.described if named.count(data.experiment) > 1 else data.name
    return name if len(set(named)) == 1 else f"{name} of {data.experiment}"


def _fills(recipe: Recipe, data: Data) -> bool:
    """Tell whether what is asked for was measured on a dataset: a run need not have beams or answers."""
    if recipe.shape == "beams":
        return any(cell.get("beams") for group in data.groups.values() for cell in group.cells)
    if recipe.shape in _NEEDED:
        return any(group.registered == _NEEDED[recipe.shape] for group in data.groups.values())
    if recipe.shape == "rows":
        return any(group.value(name) is not None for group in data.groups.values() for name in recipe.measures.values())
    return True


def _data(experiment: str, name: str, data: Asked, cells: Sequence[KeptCell]) -> Data:
    own = [cell for cell in cells if (cell["dataset"], asked(cell)) == (name, data)]
    labels = dict.fromkeys(cell["system"] for cell in own)
    groups = {label: _group(label, [cell for cell in own if cell["system"] == label]) for label in labels}
    corpus = next((cell["corpus"] for cell in own if cell.get("corpus")), {})
    sample = next((cell["sample"] for cell in own if cell.get("sample")), "")
    return Data(experiment, name, name, data, sample, corpus, groups)


def _group(label: str, cells: Sequence[KeptCell]) -> Group:
    """Put the seeds of one recipe together: an average with those of an older one is of nothing that was ever run."""
    newest = max(cells, key=lambda cell: cell["ended"])["settings"]
    same = tuple(cell for cell in cells if cell["settings"] == newest)
    return Group(label, same[0]["family"], same, tuple(cell for cell in cells if cell["settings"] != newest))


def _value(cell: KeptCell, measure: str) -> float | None:
    part, dot, key = measure.partition(".")
    if dot and part == "answers":
        answers: Mapping[str, Any] = {**cell.get("answers", {})}
        return answers.get(key)
    found = [row["value"] for row in cell["results"] if (row["slice"], row["measure"]) == (ALL, measure)]
    return found[0] if found else None
