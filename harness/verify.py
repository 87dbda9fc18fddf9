"""Compute again what a run folder says of itself: checksums, measures, intervals, tests, from the hits it stored.

Whoever reads a report need not believe it: the hits (run.trec.gz) and the judgements (the stored data) lie beside the
figures, and everything random in the figures has a seed.
"""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from importlib import metadata
from pathlib import Path
from statistics import fmean
from typing import TYPE_CHECKING, Any, NamedTuple, TypeVar

from harness.errors import HarnessError, RunFolderError
from harness.progress import SILENT, Progress
from harness.store import Cell, RunFolder, complete

if TYPE_CHECKING:
    from harness.records import AnswerRow, Comparison, ExperimentRecord, Result
    from harness.scoring import Values
    from harness.types import Dataset, Qrels, Split

UNCHECKED = (
    "meter.json and beams.json: times and memory cannot be computed again, and the hits of other beams are not stored",
    "answers.json: nor can times and memory of answers",
    "answer_significance.json",
    "that the models in model/ give these hits: run the cell again for that",
    "report/: it is made of the files above, build it again with harness report",
)
"""What a run folder holds and this cannot check."""
_ResultKey = tuple[str, str, int, str, str]
"""Dataset, system, seed, slice, measure."""
_PairKey = tuple[str, int, str, str, str]
"""Dataset, seed, system, baseline, measure."""
_Key = TypeVar("_Key", bound=tuple[Any, ...])
_LIBRARIES = ("numpy", "scipy", "ir-measures")
_CLOSE = 1e-9


class Difference(NamedTuple):
    """A stored figure that comes out otherwise. cell: dataset, system and seed; what: the measure, or the file."""

    cell: str
    what: str
    stored: str
    recomputed: str


@dataclass
class Verdict:
    """What was checked and what differs. `figures`: numbers that were compared; `notes`: what to know about them."""

    checked: list[str] = field(default_factory=list)
    differences: list[Difference] = field(default_factory=list)
    notes: list[str] = field(default_factory=list)
    figures: int = 0

    def compare(self, cell: str, what: str, stored: object, recomputed: object) -> None:
        """Take in one pair; numbers may differ in the last digits, anything else may not."""
        self.figures += 1
        if not _same(stored, recomputed):
            self.differences.append(Difference(cell, what, _said(stored), _said(recomputed)))


def verify(folder: Path, progress: Progress = SILENT) -> Verdict:
    """Check every finished cell of a run, its results and its tests.

    Raises:
        RunFolderError: no run folder, a damaged file, or none of its cells is done.
    """
    with complete(folder):
        return _verified(RunFolder(folder), progress)


def _verified(run: RunFolder, progress: Progress) -> Verdict:
    record, verdict = run.experiment(), Verdict()
    cells = [cell for cell in run.cells() if _done(run, cell, verdict)]
    if not cells:
        raise RunFolderError(f"a run with cells that are done in {run.path}", "none", "run the experiment first")
    verdict.notes += _libraries(record)
    _Check(run, record, verdict).all(cells, progress)
    return verdict


class _Check:
    """One run folder under examination."""

    def __init__(self, run: RunFolder, record: ExperimentRecord, verdict: Verdict) -> None:
        self._run, self._record, self._verdict = run, record, verdict
        self._datasets: dict[str, Dataset] = {}
        self._splits: dict[str, Split] = {}

    def all(self, cells: Sequence[Cell], progress: Progress) -> None:
        """Check data, then each cell's hits, then what was summed up of all of them."""
        from harness.scoring import Scores

        progress.phase("verify", len(cells), "cells")
        for name in dict.fromkeys(cell.dataset for cell in cells):
            self._data(name)
        known = [cell for cell in cells if cell.dataset in self._datasets]
        scores = Scores(self._datasets, self._splits, self._record["primary"])
        for cell in known:
            values = self._hits(cell)
            if values is not None:
                scores.add(cell, values)
            self._answers(cell)
            progress.advance()
        self._results(known, scores.results(known))
        self._significance(known, scores.significance(known))

    def _data(self, name: str) -> None:
        """Open the stored data and compute their checksum again."""
        from harness.datasets import stored
        from harness.plan import evaluated

        try:
            dataset = stored.open_folder(self._run.data_folder(name))
        except HarnessError as error:
            self._verdict.differences.append(Difference(name, "the stored data", "a dataset", _one_line(error)))
            return
        checksum = stored.checksum(dataset)
        self._verdict.compare(name, "checksum of the stored data", dataset.card.get("checksum"), checksum)
        said = self._record["datasets"][name].get("checksum")
        self._verdict.compare(name, "checksum in experiment.json", said, checksum)
        self._verdict.checked.append(
            f"{name}: {len(dataset.corpus):,} passages and all judgements, data {checksum[:8]}"
        )
        self._datasets[name] = dataset
        self._splits[name] = evaluated(dataset, self._record["split"], self._record["config"].get("limit"))

    def _hits(self, cell: Cell) -> Values | None:
        """Measure the stored hits again and compare query by query; None where they cannot be read."""
        from harness.measures import per_query
        from harness.ranking import validate

        folder, split = self._run.cell(cell), self._splits[cell.dataset]
        try:
            self._verdict.compare(
                _name(cell), "fingerprint in spec.json", folder.spec()["fingerprint"], cell.fingerprint
            )
            hits = folder.run()
            validate(hits, self._datasets[cell.dataset].corpus.row_of, self._record["depth"])
            stored = folder.per_query()
        except HarnessError as error:
            self._verdict.differences.append(Difference(_name(cell), "its files", "whole and valid", _one_line(error)))
            return None
        qids = [query.qid for query in split.queries]
        values = per_query(hits, split.qrels, qids, self._record["measures"])
        for measure in {**values, **stored}:
            self._queries(cell, measure, stored.get(measure, {}), values.get(measure, {}))
        self._verdict.checked.append(
            f"{_name(cell)}: {len(values)} measures of {len(qids)} queries from the stored hits"
        )
        return values

    def _queries(self, cell: Cell, measure: str, stored: Mapping[str, float], found: Mapping[str, float]) -> None:
        """Compare one measure query by query; of several that differ the first is told, with their number."""
        self._verdict.figures += len(found)
        differ = [qid for qid in {**found, **stored} if not _same(stored.get(qid), found.get(qid))]
        if differ:
            more = f", and {len(differ) - 1} more queries" if len(differ) > 1 else ""
            first = _said(stored.get(differ[0])), _said(found.get(differ[0]))
            self._verdict.differences.append(Difference(_name(cell), f"{measure} of query {differ[0]}{more}", *first))

    def _results(self, cells: Sequence[Cell], found: Sequence[Result]) -> None:
        """Compare results.json; slices that no system has (an earlier version did not cut them) are noted."""
        from harness.slices import ALL

        rows = self._run.results()
        stored, again = _by_key(rows), _by_key(found)
        for key, n in _repeated(map(_result_key, rows)):
            cell = f"{key[0]} {key[1]} seed {key[2]}"
            self._verdict.compare(cell, f"{key[4]}, slice {key[3]}, rows in results.json", n, 1)
        names = {_key(cell): _name(cell) for cell in cells}
        cut = {(key[0], key[3]) for key in stored} | {(cell.dataset, ALL) for cell in cells}
        for dataset, part in dict.fromkeys((key[0], key[3]) for key in again if (key[0], key[3]) not in cut):
            self._verdict.notes.append(f"results.json has no figure of {dataset} for the slice {part!r}")
        for key, row in again.items():
            if (key[0], key[3]) in cut:
                for figure in ("value", "ci_low", "ci_high", "n"):
                    what = f"{key[4]}, slice {key[3]}, {figure}"
                    self._verdict.compare(names[key[:3]], what, stored.get(key, {}).get(figure), row.get(figure))
        for key in stored.keys() - again.keys():
            cell = f"{key[0]} {key[1]} seed {key[2]}"
            self._verdict.differences.append(
                Difference(cell, f"{key[4]}, slice {key[3]}", _said(stored[key]["value"]), "no such figure")
            )
        self._verdict.checked.append(f"results.json: {len(stored):,} means with their intervals")

    def _significance(self, cells: Sequence[Cell], found: Sequence[Comparison]) -> None:
        """Compare significance.json, Holm's correction included."""
        names = {_key(cell) for cell in cells}
        rows = self._run.significance()
        stored, again = _by_pair(rows), _by_pair(found)
        for key, n in _repeated(map(_pair_key, rows)):
            self._verdict.compare(_pair_name(key), f"{key[4]}, rows in significance.json", n, 1)
        for key in {**again, **stored}:
            cell = _pair_name(key)
            if (key[0], key[2], key[1]) in names or key in again:
                for figure in ("difference", "p", "p_holm", "n"):
                    pair = stored.get(key, {}).get(figure), again.get(key, {}).get(figure)
                    self._verdict.compare(cell, f"{key[4]}, {figure}", *pair)
            else:
                self._verdict.differences.append(Difference(cell, key[4], _said(stored[key]["p"]), "no such test"))
        self._verdict.checked.append(f"significance.json: {len(stored):,} paired tests with Holm's correction")

    def _answers(self, cell: Cell) -> None:
        """Compare answers.json with the answers themselves, where somebody let the system answer."""
        from harness.significance import bootstrap

        folder = self._run.cell(cell)
        record, rows = folder.answers(), folder.answer_rows()
        if record is None:
            return
        said: Mapping[str, Any] = {**record}
        self._verdict.compare(_name(cell), "number of answers", said.get("n"), len(rows))
        if not rows:
            return
        self._references(cell, rows)
        for measure, values in _answered(rows).items():
            self._verdict.compare(_name(cell), f"{measure} of the answers", said.get(measure), fmean(values))
            interval = bootstrap(values, cell.seed) or (None, None)
            for end, bound in zip(("low", "high"), interval, strict=True):
                self._verdict.compare(
                    _name(cell), f"{measure}_{end} of the answers", said.get(f"{measure}_{end}"), bound
                )
        for share, recomputed in _shares(rows, self._splits[cell.dataset].qrels).items():
            self._verdict.compare(_name(cell), f"{share} of the answers", said.get(share), recomputed)
        self._verdict.checked.append(f"{_name(cell)}: {len(rows)} answers")

    def _references(self, cell: Cell, rows: Sequence[AnswerRow]) -> None:
        """Compare the reference answers beside the answers with those of the stored queries."""
        answers = {query.qid: list(query.answers) for query in self._splits[cell.dataset].queries}
        for row in rows:
            what = f"reference answers of query {row['qid']}"
            self._verdict.compare(_name(cell), what, row["references"], answers.get(row["qid"]))


def _answered(rows: Sequence[AnswerRow]) -> dict[str, list[float]]:
    from harness.answer_match import exact_match, token_f1

    return {
        "exact_match": [exact_match(row["answer"], row["references"]) for row in rows],
        "f1": [token_f1(row["answer"], row["references"]) for row in rows],
    }


def _shares(rows: Sequence[AnswerRow], qrels: Qrels) -> dict[str, float]:
    """Return the share of answers read from a relevant passage, and that of queries without one."""
    relevant = [row["docid"] is not None and qrels.get(row["qid"], {}).get(row["docid"], 0) >= 1 for row in rows]
    return {"gold_passage": fmean(relevant), "refused": fmean(not row["answer"] for row in rows)}


def _done(run: RunFolder, cell: Cell, verdict: Verdict) -> bool:
    status = run.status(cell)
    if status is None or status["state"] != "done":
        verdict.notes.append(f"{_name(cell)} has no result: nothing to check")
        return False
    if status["fingerprint"] != cell.fingerprint:
        verdict.notes.append(f"{_name(cell)} is of another plan than experiment.json: not checked")
        return False
    return True


def _libraries(record: ExperimentRecord) -> Iterator[str]:
    """Say which libraries differ from those of the run: another one may draw other random numbers."""
    packages = record["environment"].get("packages", {})
    for name in _LIBRARIES:
        then, now = packages.get(name), metadata.version(name)
        if then is not None and then != now:
            yield f"the run was measured with {name} {then}, this is {now}: intervals and p values may differ slightly"


def _result_key(row: Any) -> _ResultKey:
    return row["dataset"], row["system"], row["seed"], row["slice"], row["measure"]


def _pair_key(row: Any) -> _PairKey:
    return row["dataset"], row["seed"], row["system"], row["baseline"], row["measure"]


def _pair_name(key: _PairKey) -> str:
    return f"{key[0]} {key[2]} against {key[3]} seed {key[1]}"


def _by_key(rows: Sequence[Any]) -> dict[_ResultKey, Mapping[str, Any]]:
    return {_result_key(row): row for row in rows}


def _by_pair(rows: Sequence[Any]) -> dict[_PairKey, Mapping[str, Any]]:
    return {_pair_key(row): row for row in rows}


def _repeated(keys: Iterable[_Key]) -> list[tuple[_Key, int]]:
    """List the keys of more than one row, with how many: the report averages such rows, a look-up sees the last."""
    return [(key, n) for key, n in Counter(keys).items() if n > 1]


def _key(cell: Cell) -> tuple[str, str, int]:
    return cell.dataset, cell.system, cell.seed


def _name(cell: Cell) -> str:
    return f"{cell.dataset} {cell.system} seed {cell.seed}"


def _same(one: object, two: object) -> bool:
    if isinstance(one, int | float) and isinstance(two, int | float):
        return math.isclose(one, two, rel_tol=_CLOSE, abs_tol=_CLOSE)
    return one == two


def _said(value: object) -> str:
    return "nothing" if value is None else f"{value:.10g}" if isinstance(value, float) else str(value)


def _one_line(error: HarnessError) -> str:
    return " ".join(str(error).split())
