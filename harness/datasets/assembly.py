"""Put queries and judgements together into splits; what nothing relevant is known for is left out aloud."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import NamedTuple

from harness.datasets.checks import Place
from harness.errors import DataError
from harness.types import Corpus, Query, Split


class Asked(NamedTuple):
    """A query as a file gives it: its judgements (docid -> grade) and its place."""

    query: Query
    judged: Mapping[str, int]
    place: Place


def judge(judged: dict[str, int], docid: str, grade: int) -> None:
    """Take in a grade; of several for one query and passage (as for the aspects of a question) the largest counts."""
    judged[docid] = max(grade, judged.get(docid, grade))


def split(name: str, asked: Iterable[Asked], notes: list[str], judged_qids: Iterable[str] = ()) -> Split:
    """Keep the queries with a relevant passage (grade from 1) in their order; `notes` says how many were left out.

    Args:
        name: of the split.
        asked: its queries.
        notes: of the card, to be added to.
        judged_qids: those that judgements name; how many of them are no query is noted too.

    Raises:
        DataError: two queries share an id.
    """
    kept: list[Query] = []
    qrels: dict[str, dict[str, int]] = {}
    line_of: dict[str, int] = {}
    for query, judged, place in asked:
        if query.qid in line_of:
            got = f"{query.qid!r} again, first used in line {line_of[query.qid]}"
            raise place.error("every query to have an id of its own", got, "rename or remove one of the two")
        line_of[query.qid] = place.line
        if max(judged.values(), default=0) >= 1:
            kept.append(query)
            qrels[query.qid] = dict(judged)
    if strangers := sum(qid not in line_of for qid in judged_qids):
        notes.append(f"{name}: judgements of {strangers} queries that are not there left out")
    if len(kept) < len(line_of):
        notes.append(f"{name}: {len(line_of) - len(kept)} of {len(line_of)} queries left out (no relevant passage)")
    return Split(name, tuple(kept), qrels)


def need_test(test: Split, notes: Iterable[str], file: Path | str) -> None:
    """Refuse a set without a test query.

    Raises:
        DataError: there is none; says how many were left out.
    """
    if not test.queries:
        dropped = [note for note in notes if note.startswith(f"{test.name}: ")]
        got = "; ".join(["no test query", *dropped])
        fix = "check that the corpus and the questions belong together and are whole"
        raise DataError("at least one test query with a relevant passage", got, fix, file=file)


def need_unique(corpus: Corpus, file: Path | str) -> None:
    """Refuse a corpus without passages, or in which two share a docid; counts in Arrow.

    Raises:
        DataError: with the docid.
    """
    from pyarrow import compute

    if not len(corpus):
        raise DataError("at least one passage", "an empty corpus", "check that the file is whole", file=file)
    docids = corpus.table.column("docid")
    if compute.count_distinct(docids).as_py() < len(corpus):
        counted = compute.value_counts(docids)
        row = compute.index(compute.greater(counted.field("counts"), 1), value=True).as_py()
        got = f"{counted.field('values')[row].as_py()!r} {counted.field('counts')[row].as_py()} times"
        raise DataError("every passage to have an id of its own", got, "keep one of them", file=file)
