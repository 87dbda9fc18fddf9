"""Keep the results of runs in one small file that can be committed: rows as in results.json, each cell's fingerprint.

A run folder holds models and is thrown away; this file says what came out, of which settings and which data, so that
nobody has to run a cell twice to know.
"""

from __future__ import annotations

import contextlib
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from statistics import fmean
from typing import Any, NamedTuple, NotRequired, TypedDict, cast

from harness.datasets import stored
from harness.environment import machine
from harness.errors import RunFolderError
from harness.export import found_by, judged_by, names_by
from harness.jsonfile import check_format, read_object, write_json
from harness.measures import per_query
from harness.plan import evaluated
from harness.records import AnswersRecord, BeamRow, Cell, Comparison, Indexed, Meter, Result, sampled
from harness.store import RunFolder, complete
from harness.types import Split

FORMAT = 1


TITLE_MEASURES = ("Success@1", "Success@5", "RR@5")


class Test(TypedDict):
    """A row of significance.json about the cell's system; p_holm is corrected for `tests` tests."""

    measure: str
    baseline: str
    difference: float
    p: float
    p_holm: float
    n: int
    tests: int


class KeptCell(TypedDict):
    """One cell that is done.

    checksum: of the dataset's passages, queries and judgements. fingerprint: of all that decides the cell's figures but
    the sources, whose SHA-256 is `code`. ended: ISO 8601. settings: of the system. machine: processor, memory, cards.
    meter: as in meter.json, without the latency of each query. results: its rows of results.json.
    corpus: how many passages and documents there are. sample: which test queries the dataset was cut to, in words;
    absent where it has them all. beams, answers: as in beams.json and answers.json, where somebody measured them.
    titles: means of `TITLE_MEASURES` of titles in place of passages, where titles have several passages; a title is
    found where the first of its passages is. tests: of its system against others of the run. indexed: as in
    status.json.
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
    titles: NotRequired[dict[str, float]]
    tests: NotRequired[list[Test]]
    indexed: NotRequired[Indexed]


_SOMETIMES = {"corpus", "sample", "beams", "answers", "titles", "tests", "indexed"}
_REQUIRED = KeptCell.__annotations__.keys() - _SOMETIMES
_OF_A_ROW = {"split", "slice", "measure", "value", "n"}
"""What is read of a row of results."""


def keep(folder: Path, file: Path) -> list[KeptCell]:
    """Put every finished cell of a run into `file`.

    An older one of the same experiment, dataset, system and seed makes way, unless it says more: of the same data one
    of fewer queries, of another split, or without its measures, beams or answers does not replace it.

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
    if not isinstance(cells, list) or not all(map(_whole, cells)):
        raise RunFolderError(
            f"kept results in {file}", "a file of another kind", "name a file that `harness keep` wrote"
        )
    return cast("list[KeptCell]", cells)


def _whole(cell: object) -> bool:
    """Tell whether a cell, and each of its rows of results, has all that it must have."""
    if not isinstance(cell, dict) or not cell.keys() >= _REQUIRED:
        return False
    rows, tables = cell["results"], (cell["settings"], cell["machine"], cell["meter"])
    return (
        all(isinstance(table, dict) for table in tables)
        and isinstance(rows, list)
        and all(isinstance(row, dict) and row.keys() >= _OF_A_ROW for row in rows)
    )


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
    if new.checksum != old.checksum:
        return
    if new.split != old.split or new.n < old.n:
        raise RunFolderError(
            f"a result of {cell['system']} on {cell['dataset']} (seed {cell['seed']}) that says as much as that of "
            f"{old.n} {old.split} queries in {file}",
            f"{new.n} {new.split} queries",
            "keep it in another file, or run the experiment without limit on that split",
        )
    if lost := _lost(cell, older):
        raise RunFolderError(
            f"a result of {cell['system']} on {cell['dataset']} (seed {cell['seed']}) with all that {file} has of it",
            f"one without {', '.join(lost)}",
            "measure that in this run too (harness bench beams, harness answers), or keep it in another file",
        )


def _lost(cell: KeptCell, older: KeptCell) -> list[str]:
    """List what was measured of the older cell and not of the new one."""
    measures = {row["measure"] for row in cell["results"]}
    lost = dict.fromkeys(row["measure"] for row in older["results"] if row["measure"] not in measures)
    return [*lost, *(name for name in ("beams", "answers") if name in older and name not in cell)]


def _key(cell: KeptCell) -> tuple[str, str, str, int]:
    return cell["experiment"], cell["dataset"], cell["system"], cell["seed"]


def finished_cells(run: RunFolder) -> list[KeptCell]:
    """Read the cells of a run that are done as they are planned.

    Raises:
        RunFolderError: no run, or a damaged file in it.
    """
    with complete(run.path):
        return _finished_cells(run)


def _finished_cells(run: RunFolder) -> list[KeptCell]:
    experiment, results, compared = run.experiment(), run.results(), run.significance()
    title_measures = _TitleMeasures(run)
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
        if "indexed" in status:
            found[-1]["indexed"] = status["indexed"]
        if sample := sampled(card):
            found[-1]["sample"] = sample
        folder = run.cell(cell)
        if beams := folder.beams():
            found[-1]["beams"] = beams
        if answers := folder.answers():
            found[-1]["answers"] = answers
        if tests := _tests(compared, cell):
            found[-1]["tests"] = tests
        if titles := title_measures.of(cell):
            found[-1]["titles"] = titles
    return found


class _TitleMeasures:
    """Measures titles in the runs of cells; the data of each dataset are opened once."""

    def __init__(self, run: RunFolder) -> None:
        self._run = run
        self._names: dict[str, Mapping[str, str]] = {}
        self._splits: dict[str, Split] = {}

    def of(self, cell: Cell) -> dict[str, float]:
        """Return the means by measure; nothing where every passage has a title of its own, or the data are gone."""
        if cell.dataset not in self._names:
            self._open(cell.dataset)
        names = self._names[cell.dataset]
        if len(set(names.values())) == len(names):
            return {}
        split = self._splits[cell.dataset]
        qids = [query.qid for query in split.queries]
        found = per_query(found_by(self._run.run(cell), names), judged_by(split.qrels, names), qids, TITLE_MEASURES)
        return {measure: fmean(values.values()) for measure, values in found.items()}

    def _open(self, dataset: str) -> None:
        record = self._run.experiment()
        self._names[dataset] = {}
        with contextlib.suppress(RunFolderError):  # the rest of a run is small, and may have been copied alone
            data = stored.open_folder(self._run.data_folder(dataset))
            self._names[dataset] = names_by(data.corpus, "title")
            self._splits[dataset] = evaluated(data, record["split"], record["config"].get("limit"))


def _tests(compared: Sequence[Comparison], cell: Cell) -> list[Test]:
    family = [row for row in compared if (row["dataset"], row["seed"]) == (cell.dataset, cell.seed)]
    return [
        Test(
            measure=row["measure"],
            baseline=row["baseline"],
            difference=row["difference"],
            p=row["p"],
            p_holm=row["p_holm"],
            n=row["n"],
            tests=len(family),
        )
        for row in family
        if row["system"] == cell.system
    ]


def _short(meter: Meter) -> Meter:
    """Leave out the latency of each query: a file to commit keeps to what sums it up."""
    meter.pop("latency_samples_ms", None)
    return meter


def _rows(results: Sequence[Result], cell: Cell) -> list[Result]:
    key = cell.dataset, cell.system, cell.seed
    return [row for row in results if (row["dataset"], row["system"], row["seed"]) == key]
