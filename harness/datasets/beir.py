"""Read a set in BEIR layout: corpus.jsonl, queries.jsonl and qrels/{train,dev,test}.tsv, in a folder or an archive."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from harness.datasets import blanks, checks, handed_on, layout, paths
from harness.datasets.files import File
from harness.datasets.settings import DatasetSettings
from harness.datasets.stored import gather
from harness.errors import DataError
from harness.types import Corpus, Dataset, Passage, Query, Split


def load(given: str, settings: DatasetSettings) -> Dataset:
    """Read the folder or archive `given` and describe it.

    The name is the folder's, or the archive's without its ending. A missing train.tsv or dev.tsv gives an empty split;
    other qrels files are ignored. A query without a relevant passage (grade from 1) is left out of its split, which
    the card's notes say. Qrels may be TREC's, also in files that end in .trec, .qrels or .txt.

    Raises:
        DataError: something is missing or malformed; names the file and the line.
    """
    found = layout.find(paths.find(given))
    corpus = read_corpus(found.corpus)
    queries = read_queries(found.queries)
    notes: list[str] = []
    splits = {name: _split(name, found.qrels.get(name), corpus, queries, notes) for name in layout.QRELS}
    if queries:  # a set without any is indexed and searched, not evaluated
        _need_test(splits["test"], found.qrels["test"], notes)
    unused = queries.keys() - {query.qid for split in splits.values() for query in split.queries}
    if unused:
        notes.append(f"{len(unused)} of {len(queries)} queries are in no split")
    return Dataset(found.name, corpus, **splits, card=_card(found, notes + blanks.counted(corpus, queries.values())))


def read_corpus(file: File) -> Corpus:
    """Stream a corpus file into Arrow, in the order of the file.

    Each line: `_id` and `text`, optionally `title` (default "") and `document` (default the `_id`).

    Raises:
        DataError: a line is malformed, two passages share an `_id`, or there is no passage.
    """
    corpus = gather(_passages(file))
    if not len(corpus):
        raise DataError("at least one passage", "an empty corpus", "put one JSON object a line into it", file=file.path)
    checks.unique_passages(corpus, file)
    return corpus


def read_queries(file: File) -> dict[str, Query]:
    """Read a queries file: qid -> query, in the order of the file; answers come from `metadata.answers`.

    Raises:
        DataError: a line is malformed, or two queries share an `_id`.
    """
    queries: dict[str, Query] = {}
    line_of: dict[str, int] = {}
    for place, record in checks.records(file):
        qid = checks.identifier(record, place)
        if qid in queries:
            got = f"{qid!r} again, first used in line {line_of[qid]}"
            raise place.error("every query to have an _id of its own", got, "rename or remove one of the two")
        queries[qid] = Query(qid, checks.string(record, "text", place), _answers(record, place))
        line_of[qid] = place.line
    return queries


def _passages(file: File) -> Iterator[Passage]:
    for place, record in checks.records(file):
        docid = checks.identifier(record, place)
        document = checks.plain_id(checks.string(record, "document", place, docid), "a document", place)
        yield Passage(docid, checks.string(record, "title", place, ""), checks.string(record, "text", place), document)


def _answers(record: Mapping[str, Any], place: checks.Place) -> tuple[str, ...]:
    metadata = record.get("metadata")
    answers = metadata.get("answers") if isinstance(metadata, dict) else None
    if answers is None:
        return ()
    if not isinstance(answers, list) or not all(isinstance(answer, str) for answer in answers):
        fix = 'write them as {"metadata": {"answers": ["…"]}}'
        raise place.error("metadata.answers to be a list of strings", "something else", fix)
    return tuple(checks.clean(answer, "answers", place) for answer in answers)


def _split(name: str, file: File | None, corpus: Corpus, queries: Mapping[str, Query], notes: list[str]) -> Split:
    if file is None:
        return Split(name)
    found = list(checks.judgements(file))
    checks.known_passages(found, corpus)
    qrels = _qrels(found, queries)
    relevant = {qid for qid, judged in qrels.items() if max(judged.values()) >= 1}
    if len(relevant) < len(qrels):
        notes.append(f"{name}: {len(qrels) - len(relevant)} of {len(qrels)} queries left out (no relevant passage)")
    kept = tuple(query for query in queries.values() if query.qid in relevant)
    return Split(name, kept, {query.qid: qrels[query.qid] for query in kept})


def _qrels(found: list[checks.Judgement], queries: Mapping[str, Query]) -> dict[str, dict[str, int]]:
    qrels: dict[str, dict[str, int]] = {}
    for qid, docid, grade, place in found:
        if qid not in queries:
            got = f"the query-id {qid!r}, which no query has"
            raise place.error("judgements of queries in queries.jsonl", got, "add the query or remove this line")
        judged = qrels.setdefault(qid, {})
        if judged.setdefault(docid, grade) != grade:
            got = f"grade {grade} for {qid} {docid}, after grade {judged[docid]}"
            raise place.error("one grade for a query and a passage", got, "keep one of the two lines")
    return qrels


def _need_test(test: Split, file: File, notes: list[str]) -> None:
    if not test.queries:
        dropped = [note for note in notes if note.startswith("test: ")]
        got = "; ".join(["no test query", *dropped])
        fix = "add judgements with a score of 1 or more"
        raise DataError("at least one test query with a relevant passage", got, fix, file=file.path)


def _card(found: layout.Layout, notes: list[str]) -> dict[str, Any]:
    told = handed_on.read(found.corpus)
    return {
        "source": f"{found.source} in BEIR layout ({layout.WORDS}){told.source}",
        "licence": "not part of the layout; see where the set comes from",
        "description": f"{found.name}, a set in BEIR layout",
        **told.card,
        "protocol": {
            **told.protocol,
            "split_rule": f"as given by the files in qrels: {', '.join(f.path.name for f in found.qrels.values())}",
            "judgements": "as given; relevant from grade 1",
        },
        "notes": notes,
    }
