"""What was measured here, from run folders and from files of kept results, as the paper's tables ask for it."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from statistics import fmean
from typing import Any

from harness import kept
from harness.errors import DataError, RunFolderError
from harness.kept import KeptCell
from harness.store import RunFolder
from reports import units
from reports.paper.recipes import Recipe

SHOWN = 8
"""Digits of a fingerprint or a checksum."""
ALL = "all"


@dataclass(frozen=True)
class Found:
    """One cell and where it was found: the file of kept results, or the folder of its run."""

    cell: KeptCell
    where: str


@dataclass(frozen=True)
class Group:
    """One system on one dataset, all its seeds."""

    system: str
    family: str
    cells: tuple[KeptCell, ...]

    @property
    def fingerprints(self) -> str:
        """First digits of the fingerprint of each cell, which name the cells a figure comes from."""
        return ", ".join(cell["fingerprint"][:SHOWN] for cell in self.cells)

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
    """One dataset as it was used: its passages, queries and judgements have this `checksum`."""

    name: str
    checksum: str
    queries: int
    corpus: Mapping[str, int]
    groups: Mapping[str, Group]

    @property
    def described(self) -> str:
        """Name, number of queries and first digits of the checksum."""
        return f"{self.name} ({units.count(self.queries)} queries, data {self.checksum[:SHOWN]})"


@dataclass(frozen=True)
class Measured:
    """All of one experiment that was measured; `places`: where it was found."""

    experiment: str
    data: tuple[Data, ...]
    places: tuple[str, ...]

    @property
    def seeds(self) -> tuple[int, ...]:
        """All seeds of all cells."""
        return tuple(sorted({c["seed"] for d in self.data for g in d.groups.values() for c in g.cells}))

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


def choose(recipe: Recipe, found: Sequence[Found], experiment: str | None = None) -> Measured | None:
    """Take the results that fill a table: of its experiments the first that there are results of.

    Args:
        recipe: of the table.
        found: all there is.
        experiment: take this one instead.

    Raises:
        DataError: there are no results of the `experiment` that was asked for.

    Returns:
        The results on the datasets on which the measures of the table were taken; None where there are none.
    """
    names = recipe.experiments if experiment is None else (experiment,)
    there = [name for name in names if any(f.cell["experiment"] == name for f in found)]
    if not there:
        if experiment is not None:
            known = ", ".join(dict.fromkeys(f.cell["experiment"] for f in found)) or "none"
            raise DataError(f"results of the experiment {experiment!r}", f"results of {known}", "name its run folder")
        return None
    own = [f for f in found if f.cell["experiment"] == there[0]]
    keys = dict.fromkeys(map(_measured_on, (f.cell for f in own)))
    data = tuple(d for key in keys if _fills(recipe, d := _data(*key, [f.cell for f in own])))
    return Measured(there[0], data, tuple(dict.fromkeys(f.where for f in own))) if data else None


def _fills(recipe: Recipe, data: Data) -> bool:
    """Tell whether what is asked for was measured on a dataset: a run need not have beams or answers."""
    if recipe.shape == "beams":
        return any(cell.get("beams") for group in data.groups.values() for cell in group.cells)
    if recipe.shape == "rows":
        return any(group.value(name) is not None for group in data.groups.values() for name in recipe.measures.values())
    return True


def _measured_on(cell: KeptCell) -> tuple[str, str, int]:
    """Tell data apart: the checksum does not cover that only the first queries were evaluated."""
    return cell["dataset"], cell["checksum"], max((row["n"] for row in cell["results"]), default=0)


def _data(name: str, checksum: str, queries: int, cells: Sequence[KeptCell]) -> Data:
    own = [cell for cell in cells if _measured_on(cell) == (name, checksum, queries)]
    groups = {}
    for label in dict.fromkeys(cell["system"] for cell in own):
        of_label = tuple(cell for cell in own if cell["system"] == label)
        groups[label] = Group(label, of_label[0]["family"], of_label)
    corpus = next((cell["corpus"] for cell in own if cell.get("corpus")), {})
    return Data(name, checksum, queries, corpus, groups)


def _value(cell: KeptCell, measure: str) -> float | None:
    part, dot, key = measure.partition(".")
    if dot and part == "answers":
        answers: Mapping[str, Any] = {**cell.get("answers", {})}
        return answers.get(key)
    found = [row["value"] for row in cell["results"] if (row["slice"], row["measure"]) == (ALL, measure)]
    return found[0] if found else None
