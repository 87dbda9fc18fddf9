"""Keep the results of runs in one small file that can be committed: rows as in results.json, each cell's fingerprint.

A run folder holds models and is thrown away; this file says what came out, of which settings and which data, so that
nobody has to run a cell twice to know.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any, NotRequired, TypedDict, cast

from harness.errors import RunFolderError
from harness.jsonfile import check_format, read_object, write_json
from harness.records import AnswersRecord, BeamRow, Cell, Meter, Result
from harness.store import RunFolder

FORMAT = 1


class KeptCell(TypedDict):
    """One cell that is done.

    checksum: of the dataset's passages, queries and judgements. fingerprint: of all that decides the cell's figures but
    the sources, whose SHA-256 is `code`. ended: ISO 8601. settings: of the system. machine: processor and memory.
    meter: as in meter.json, without the latency of each query. results: its rows of results.json.
    corpus: how many passages and documents there are. beams, answers: as in beams.json and answers.json, where somebody
    measured them.
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
    beams: NotRequired[list[BeamRow]]
    answers: NotRequired[AnswersRecord]


def keep(folder: Path, file: Path) -> list[KeptCell]:
    """Put every finished cell of a run into `file`.

    An older one of the same experiment, dataset, system and seed makes way.

    Returns:
        All cells the file then holds, by dataset, in the order in which they came.

    Raises:
        RunFolderError: no run, no cell of it is done, or `file` was not written by this function.
        StorageError: the file system refused.
    """
    found = finished_cells(RunFolder(folder))
    if not found:
        raise RunFolderError(f"a run with cells that are done in {folder}", "none", "run the experiment first")
    kept = {_key(cell): cell for cell in read(file)} if file.exists() else {}
    kept |= {_key(cell): cell for cell in found}
    datasets = list(dict.fromkeys(cell["dataset"] for cell in kept.values()))
    cells = sorted(kept.values(), key=lambda cell: datasets.index(cell["dataset"]))
    file.parent.mkdir(parents=True, exist_ok=True)
    write_json(file, {"format": FORMAT, "cells": cells}, "the kept results")
    return cells


def read(file: Path) -> list[KeptCell]:
    """Read the cells of a file that `keep` wrote.

    Raises:
        RunFolderError: it is none, or of another format.
    """
    record = read_object(file)
    check_format(record, file)
    return cast("list[KeptCell]", record["cells"])


def data_marks(checksums: Iterable[str]) -> dict[str, str]:
    """Give the data of the rows of one table their signs: checksum -> "" for most of the rows, daggers for the others.

    Results of other passages, queries or judgements are not comparable, and where they stand together it is said.

    >>> data_marks(["a", "b", "a", "c"])
    {'a': '', 'b': '†', 'c': '††'}
    """
    ordered = [checksum for checksum, _ in Counter(checksums).most_common()]
    return {checksum: "†" * others for others, checksum in enumerate(ordered)}


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
        if status is None or status["state"] != "done" or status["fingerprint"] != cell.fingerprint:
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
                machine={name: environment[name] for name in ("cpu", "memory_bytes") if name in environment},
                meter=_short(run.meter(cell)),
                results=_rows(results, cell),
                corpus={name: card[name] for name in ("passages", "documents") if name in card},
            )
        )
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
