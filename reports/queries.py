"""What every system found for each query of a dataset: the primary measure and the first hit."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from itertools import combinations
from statistics import fmean
from typing import NamedTuple

from harness.store import CellFolder
from harness.types import Corpus, Passage, Query, Split
from reports.load import Cell, Row, Section
from reports.markup import Cell as Place
from reports.markup import Line, Table
from reports.units import count, label, signed

STEPS = 65_534
"""Values are told apart to one part in so many of the largest: enough for four digits, and two bytes each."""
ABSENT = STEPS + 1


@dataclass(frozen=True)
class Column:
    """One system: a value and the docid of the first hit for each query; None where there is none."""

    system: str
    family: str
    values: tuple[float | None, ...]
    first: tuple[str | None, ...]


@dataclass(frozen=True)
class Ledger:
    """One dataset, query by query; `columns` best system first, brackets last.

    queries: their texts are empty where the dataset is no longer there. gold: the relevant docids of each, best first.
    corpus: None where the dataset is no longer there.
    """

    measure: str
    queries: tuple[Query, ...]
    gold: tuple[tuple[str, ...], ...]
    columns: tuple[Column, ...]
    corpus: Corpus | None
    several_seeds: bool = False

    @cached_property
    def scale(self) -> float:
        """The largest value, at least 1."""
        return max(1.0, *(v for c in self.columns for v in c.values if v is not None))

    @cached_property
    def codes(self) -> Mapping[str, list[int]]:
        """Each system's values as whole numbers, 0 to `STEPS`; `ABSENT` where there is none."""
        return {column.system: [self._code(value) for value in column.values] for column in self.columns}

    def _code(self, value: float | None) -> int:
        return ABSENT if value is None else max(0, min(STEPS, round(value / self.scale * STEPS)))

    def passages(self, docids: Iterable[str]) -> dict[str, Passage]:
        """Look passages up in one pass over the corpus, which may be too large to be indexed in memory."""
        if self.corpus is None:
            return {}
        import pyarrow as pa
        from pyarrow import compute

        table = self.corpus.table
        kept = table.filter(compute.is_in(table["docid"], value_set=pa.array(sorted(set(docids)), pa.string())))
        return {passage.docid: passage for passage in Corpus(kept)}


def read(section: Section) -> Ledger | None:
    """Read what the cells of a dataset wrote, query by query; None where fewer than two systems did.

    Raises:
        RunFolderError, DataError: a file is damaged.
    """
    rows = [*section.ranked(), *(r for r in section.rows if r.bracket)]
    values = {row.system: found for row in rows if (found := averages(row).get(section.primary))}
    if len(values) < 2:
        return None
    known = dict.fromkeys(qid for found in values.values() for qid in found)
    split, corpus = _dataset(section)
    queries = tuple(q for q in split.queries if q.qid in known) if split else tuple(Query(qid, "") for qid in known)
    gold = tuple(_relevant(split.qrels.get(q.qid, {})) if split else () for q in queries)
    columns = tuple(_column(row, values[row.system], queries) for row in rows if row.system in values)
    seeds = any(len(list(_done(row))) > 1 for row in rows)
    return Ledger(section.primary, queries, gold, columns, corpus, seeds)


def averages(row: Row) -> dict[str, dict[str, float]]:
    """Return measure -> qid -> value, averaged over the finished seeds; empty where nothing is kept query by query."""
    found: dict[str, dict[str, list[float]]] = {}
    for cell in _done(row):
        if (cell.path / "per_query.parquet").is_file():
            for measure, by_qid in CellFolder(cell.path).per_query().items():
                own = found.setdefault(measure, {})
                for qid, value in by_qid.items():
                    own.setdefault(qid, []).append(value)
    return {name: {qid: fmean(values) for qid, values in own.items()} for name, own in found.items()}


def _done(row: Row) -> Iterable[Cell]:
    return (cell for cell in row.cells if cell.state == "done")


def _dataset(section: Section) -> tuple[Split | None, Corpus | None]:
    """Open the stored dataset; a run folder that was made lighter may have lost it."""
    if not (section.data / "corpus.arrow").is_file():
        return None, None
    from harness.datasets.stored import open_folder

    dataset = open_folder(section.data)
    return dataset.split(section.split), dataset.corpus


def _relevant(judged: Mapping[str, int]) -> tuple[str, ...]:
    """List relevant docids, the highest grade first, of equal ones in the order of the judgements."""
    return tuple(docid for docid, grade in sorted(judged.items(), key=lambda pair: -pair[1]) if grade > 0)


def _column(row: Row, values: Mapping[str, float], queries: Sequence[Query]) -> Column:
    hits: Mapping[str, str] = {}
    cell = next((c for c in _done(row) if (c.path / "run.trec.gz").is_file()), None)
    if cell is not None:
        hits = CellFolder(cell.path).first_hits()
    own, first = tuple(values.get(q.qid) for q in queries), tuple(hits.get(q.qid) for q in queries)
    return Column(row.system, row.family, own, first)


class Duel(NamedTuple):
    """On how many queries one system is better, equal, worse; `difference` is the mean over all of them."""

    wins: int
    ties: int
    losses: int
    difference: float


def duel(ledger: Ledger, one: Column, other: Column) -> Duel | None:
    """Compare two systems on the queries both have; None where there are none."""
    codes = ledger.codes
    pairs = [
        (a, b, x - y)
        for a, b, x, y in zip(codes[one.system], codes[other.system], one.values, other.values, strict=True)
        if x is not None and y is not None
    ]
    if not pairs:
        return None
    wins, losses = sum(a > b for a, b, _ in pairs), sum(a < b for a, b, _ in pairs)
    return Duel(wins, len(pairs) - wins - losses, losses, fmean(gap for *_, gap in pairs))


def table(section: Section, ledger: Ledger) -> Table | None:
    """Build the table of wins, ties and losses of every pair of systems but the brackets."""
    rows = {row.system: row for row in section.rows if not row.bracket}
    shown = [column for column in ledger.columns if column.system in rows]
    lines = [
        Line(one.family, (_name(rows[one.system]), _name(rows[other.system]), *_places(found)))
        for one, other in combinations(shown, 2)
        if (found := duel(ledger, one, other))
    ]
    caption = (
        f"Query by query on {section.dataset}: on how many of the queries the system has the larger, the same or the "
        f"smaller {label(ledger.measure)} than the other."
    )
    heads = ("System", "Against", "Wins", "Ties", "Losses", "Mean difference", "Queries")
    return Table(f"wins-{section.slug}", caption, heads, tuple(lines), (), texts=2) if lines else None


def _name(row: Row) -> Place:
    return Place(row.system, link=row.folder)


def _places(found: Duel) -> list[Place]:
    counts = found.wins, found.ties, found.losses
    return [
        *(Place(count(n), raw=n) for n in counts),
        Place(signed(found.difference), raw=found.difference),
        Place(count(sum(counts)), raw=sum(counts)),
    ]
