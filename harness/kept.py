"""Keep the results of runs in one small file that can be committed: rows as in results.json, each cell's fingerprint.

A run folder holds models and is thrown away; this file says what came out, of which settings and which data, so that
nobody has to run a cell twice to know.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any, NamedTuple, NotRequired, TypedDict, cast

from harness.environment import machine
from harness.errors import RunFolderError
from harness.jsonfile import check_format, read_object, write_json
from harness.records import AnswersRecord, BeamRow, Cell, Meter, Result, sampled
from harness.store import RunFolder

FORMAT = 1


class KeptCell(TypedDict):
    """One cell that is done.

    checksum: of the dataset's passages, queries and judgements. fingerprint: of all that decides the cell's figures but
    the sources, whose SHA-256 is `code`. ended: ISO 8601. settings: of the system. machine: processor, memory, cards.
    meter: as in meter.json, without the latency of each query. results: its rows of results.json.
    corpus: how many passages and documents there are. sample: which test queries the dataset was cut to, in words;
    absent where it has them all. beams, answers: as in beams.json and answers.json, where somebody measured them.
    """

    experiment: str
    dataset: str
    checksum: str
    system: str
    registered: str
    family: str
    seed: int
    fingerprint: str
    code: str
    ended: str
    settings: dict[str, Any]
    machine: dict[str, Any]
    meter: Meter
    results: list[Result]
    corpus: NotRequired[dict[str, int]]
    sample: NotRequired[str]
    beams: NotRequired[list[BeamRow]]
    answers: NotRequired[AnswersRecord]


_SOMETIMES = {"corpus", "sample", "beams", "answers"}
_REQUIRED = KeptCell.__annotations__.keys() - _SOMETIMES


def keep(folder: Path, file: Path) -> list[KeptCell]:
    """Put every finished cell of a run into `file`.

    An older one of the same experiment, dataset, system and seed makes way, unless it says more: of the same data one
    of fewer queries, or of another split, does not replace it.

    Returns:
        All cells the file then holds, by dataset, in the order in which they came.

    Raises:
        RunFolderError: no run, no cell of it is done, `file` was not written by this function, or a cell says less than
            the one it would replace.
        StorageError: the file system refused.
    """
    found = finished_cells(RunFolder(folder))
    if not found:
        raise RunFolderError(f"a run with cells that are done in {folder}", "none", "run the experiment first")
    kept = {_key(cell): cell for cell in read(file)} if file.exists() else {}
    for cell in found:
        if older := kept.get(_key(cell)):
            _refuse_less(cell, older, file)
    kept |= {_key(cell): cell for cell in found}
    datasets = list(dict.fromkeys(cell["dataset"] for cell in kept.values()))
    cells = sorted(kept.values(), key=lambda cell: datasets.index(cell["dataset"]))
    write_json(file, {"format": FORMAT, "cells": cells}, "the kept results")
    return cells


def read(file: Path) -> list[KeptCell]:
    """Read the cells of a file that `keep` wrote.

    Raises:
        RunFolderError: it is none, or of another format.
    """
    record = read_object(file)
    check_format(record, file)
    cells = record.get("cells")
    if not isinstance(cells, list) or not all(isinstance(c, dict) and c.keys() >= _REQUIRED for c in cells):
        raise RunFolderError(
            f"kept results in {file}", "a file of another kind", "name a file that `harness keep` wrote"
        )
    return cast("list[KeptCell]", cells)


class Asked(NamedTuple):
    """Which queries a cell answered: of the data with this checksum `n`, the first ones, of a split."""

    checksum: str
    split: str
    n: int


def asked(cell: KeptCell) -> Asked:
    """Say which queries a cell answered; the checksum alone does not tell that it was asked the first ones only."""
    rows = cell["results"]
    return Asked(cell["checksum"], rows[0]["split"] if rows else "", max((row["n"] for row in rows), default=0))


def data_marks(data: Iterable[Asked]) -> dict[Asked, str]:
    """Give the data of the rows of one table their signs: "" for most of the rows, daggers for the others.

    Results of other passages, queries or judgements are not comparable, and where they stand together it is said.

    >>> a, b = Asked("a", "test", 9), Asked("a", "test", 1)
    >>> data_marks([a, b, a]) == {a: "", b: "†"}
    True
    """
    ordered = [one for one, _ in Counter(data).most_common()]
    return {one: "†" * others for others, one in enumerate(ordered)}


def _refuse_less(cell: KeptCell, older: KeptCell, file: Path) -> None:
    new, old = asked(cell), asked(older)
    if new.checksum == old.checksum and (new.split != old.split or new.n < old.n):
        raise RunFolderError(
            f"a result of {cell['system']} on {cell['dataset']} (seed {cell['seed']}) that says as much as that of "
            f"{old.n} {old.split} queries in {file}",
            f"{new.n} {new.split} queries",
            "keep it in another file, or run the experiment without limit on that split",
        )


def _key(cell: KeptCell) -> tuple[str, str, str, int]:
    return cell["experiment"], cell["dataset"], cell["system"], cell["seed"]


def finished_cells(run: RunFolder) -> list[KeptCell]:
    """Read the cells of a run that are done as they are planned.

    Raises:
        RunFolderError: no run.
    """
    experiment, results = run.experiment(), run.results()
    found = []
    for cell in run.cells():
        status = run.status(cell)
        if status is None or run.problem(cell):
            continue
        environment, card = experiment["environment"], experiment["datasets"][cell.dataset]
        found.append(
            KeptCell(
                experiment=experiment["name"],
                dataset=cell.dataset,
                checksum=card["checksum"],
                system=cell.system,
                registered=cell.registered,
                family=cell.family,
                seed=cell.seed,
                fingerprint=cell.fingerprint,
                code=status["code"],
                ended=status["ended"],
                settings=run.cell(cell).spec()["settings"],
                machine=status.get("machine") or machine(environment),
                meter=_short(run.meter(cell)),
                results=_rows(results, cell),
                corpus={name: card[name] for name in ("passages", "documents") if name in card},
            )
        )
        if sample := sampled(card):
            found[-1]["sample"] = sample
        folder = run.cell(cell)
        if beams := folder.beams():
            found[-1]["beams"] = beams
        if answers := folder.answers():
            found[-1]["answers"] = answers
    return found


def _short(meter: Meter) -> Meter:
    """Leave out the latency of each query: a file to commit keeps to what sums it up."""
    meter.pop("latency_samples_ms", None)
    return meter


def _rows(results: Sequence[Result], cell: Cell) -> list[Result]:
    key = cell.dataset, cell.system, cell.seed
    return [row for row in results if (row["dataset"], row["system"], row["seed"]) == key]
