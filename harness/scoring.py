"""Turn runs into the figures of results.json and significance.json, in the parent, from what the cells wrote."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from statistics import fmean

from harness.measures import per_query
from harness.significance import bootstrap, compare
from harness.slices import ALL, slices
from harness.store import Cell, CellFolder, Comparison, Result
from harness.types import Dataset, Split

Values = Mapping[str, Mapping[str, float]]
"""measure -> qid -> value."""


def measure(folder: CellFolder, split: Split, names: Sequence[str]) -> None:
    """Measure the run of a cell query by query and write per_query.parquet; a query without hits counts as 0."""
    qids = [query.qid for query in split.queries]
    folder.write_per_query(per_query(folder.run(), split.qrels, qids, names))


class Scores:
    """The figures of all finished cells of a run; grows cell by cell."""

    def __init__(self, datasets: Mapping[str, Dataset], splits: Mapping[str, Split], primary: str) -> None:
        """Cut each dataset's evaluated split (dataset -> split) into its slices."""
        self._slices = {name: slices(dataset, splits[name]) for name, dataset in datasets.items()}
        self._splits = {name: split.name for name, split in splits.items()}
        self._primary = primary
        self._values: dict[Cell, Values] = {}
        self._rows: dict[Cell, list[Result]] = {}
        self._comparisons: dict[tuple[str, int], list[Comparison]] = {}

    def add(self, cell: Cell, values: Values) -> None:
        """Take in a finished cell."""
        self._values[cell] = values
        self._rows[cell] = self._results(cell, values)
        self._comparisons.pop((cell.dataset, cell.seed), None)

    def means(self, cell: Cell) -> dict[str, float] | None:
        """Return a cell's measures over all queries; None where it is not finished."""
        rows = self._rows.get(cell)
        return None if rows is None else {row["measure"]: row["value"] for row in rows if row["slice"] == ALL}

    def drop(self, cell: Cell) -> None:
        """Forget a cell that is no longer there."""
        if self._rows.pop(cell, None) is not None:
            del self._values[cell]
            self._comparisons.pop((cell.dataset, cell.seed), None)

    def results(self, order: Sequence[Cell]) -> list[Result]:
        """List the figures of the finished cells, in the given order of cells."""
        return [row for cell in order for row in self._rows.get(cell, ())]

    def significance(self, order: Sequence[Cell]) -> list[Comparison]:
        """Compare the finished cells of each dataset and seed; datasets and seeds in the given order of cells."""
        groups: dict[tuple[str, int], list[Cell]] = {}
        for cell in order:
            if cell in self._values:
                groups.setdefault((cell.dataset, cell.seed), []).append(cell)
        for key, cells in groups.items():
            if key not in self._comparisons:
                self._comparisons[key] = self._compared(*key, cells)
        return [row for key in groups for row in self._comparisons[key]]

    def _compared(self, dataset: str, seed: int, cells: Sequence[Cell]) -> list[Comparison]:
        values = {cell.system: self._values[cell] for cell in cells}
        families = {cell.system: cell.family for cell in cells}
        return compare(values, families, dataset=dataset, split=self._splits[dataset], seed=seed)

    def _results(self, cell: Cell, values: Values) -> list[Result]:
        """Average over each slice; with an interval for "all", and elsewhere for the primary measure alone."""
        rows: list[Result] = []
        for part, qids in self._slices[cell.dataset].items():
            if not qids:
                # The mean over no query is no figure.
                continue
            for name, by_qid in values.items():
                found = [by_qid[qid] for qid in qids]
                row = Result(
                    dataset=cell.dataset,
                    split=self._splits[cell.dataset],
                    system=cell.system,
                    family=cell.family,
                    seed=cell.seed,
                    slice=part,
                    measure=name,
                    value=fmean(found),
                    n=len(found),
                )
                interval = bootstrap(found, cell.seed) if part == ALL or name == self._primary else None
                if interval is not None:
                    row["ci_low"], row["ci_high"] = interval
                rows.append(row)
        return rows
