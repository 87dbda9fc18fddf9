"""Read a folder in BEIR layout: corpus.jsonl, queries.jsonl and qrels/{train,dev,test}.tsv."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from harness.datasets import checks, chunking
from harness.datasets.settings import DatasetSettings
from harness.datasets.stored import gather
from harness.errors import DataError
from harness.types import Corpus, Dataset, Passage, Query, Split

_SPLITS = ("train", "dev", "test")
_LAYOUT = "corpus.jsonl, queries.jsonl and qrels/test.tsv"


def load(path: Path, settings: DatasetSettings) -> Dataset:
    """Read the folder `path`, cut its texts as the settings say, and describe it.

    The name is the folder's. A missing train.tsv or dev.tsv gives an empty split; other qrels files are ignored. A
    query without a relevant passage (grade from 1) is left out of its split, which the card's notes say.

    Raises:
        DataError: something is missing or malformed; names the file and the line.
    """
    checks.folder(path)
    corpus = read_corpus(path / "corpus.jsonl")
    queries = read_queries(path / "queries.jsonl")
    notes: list[str] = []
    splits = {name: _split(name, path / "qrels" / f"{name}.tsv", corpus, queries, notes) for name in _SPLITS}
    _need_test(splits["test"], path / "qrels" / "test.tsv", notes)
    unused = queries.keys() - {query.qid for split in splits.values() for query in split.queries}
    if unused:
        notes.append(f"{len(unused)} of {len(queries)} queries are in no split")
    name = path.resolve().name or "beir"
    dataset = Dataset(name, corpus, **splits, card=_card(name, settings, notes + _empty_texts(corpus, queries)))
    return dataset if settings.max_passage_words is None else chunking.divide(dataset, settings.max_passage_words)


def read_corpus(path: Path) -> Corpus:
    """Stream a corpus file into Arrow, in the order of the file.

    Each line: `_id` and `text`, optionally `title` (default "") and `document` (default the `_id`).

    Raises:
        DataError: a line is malformed, two passages share an `_id`, or there is no passage.
    """
    corpus = gather(_passages(path))
    if not len(corpus):
        raise DataError("at least one passage", "an empty corpus", "put one JSON object a line into it", file=path)
    checks.unique_passages(corpus, path)
    return corpus


def read_queries(path: Path) -> dict[str, Query]:
    """Read a queries file: qid -> query, in the order of the file; answers come from `metadata.answers`.

    Raises:
        DataError: a line is malformed, or two queries share an `_id`.
    """
    queries: dict[str, Query] = {}
    line_of: dict[str, int] = {}
    for place, record in checks.records(path):
        qid = checks.identifier(record, place)
        if qid in queries:
            got = f"{qid!r} again, first used in line {line_of[qid]}"
            raise place.error("every query to have an _id of its own", got, "rename or remove one of the two")
        queries[qid] = Query(qid, checks.string(record, "text", place), _answers(record, place))
        line_of[qid] = place.line
    return queries


def _passages(path: Path) -> Iterator[Passage]:
    for place, record in checks.records(path):
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


def _split(name: str, path: Path, corpus: Corpus, queries: Mapping[str, Query], notes: list[str]) -> Split:
    if name != "test" and not checks.exists(path):
        return Split(name)
    found = list(checks.judgements(path))
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


def _need_test(test: Split, path: Path, notes: list[str]) -> None:
    if not test.queries:
        dropped = [note for note in notes if note.startswith("test: ")]
        got = "; ".join(["no test query", *dropped])
        fix = "add judgements with a score of 1 or more"
        raise DataError("at least one test query with a relevant passage", got, fix, file=path)


def _empty_texts(corpus: Corpus, queries: Mapping[str, Query]) -> list[str]:
    from pyarrow import compute

    # Chunk by chunk, so that trimming never copies the whole corpus.
    texts = corpus.table.column("text").chunks
    passages = sum(compute.sum(compute.equal(compute.utf8_trim_whitespace(t), "")).as_py() for t in texts)
    blank = sum(not query.text.strip() for query in queries.values())
    counted = ((passages, len(corpus), "passages"), (blank, len(queries), "queries"))
    return [f"{n} of {total} {what} have no text" for n, total, what in counted if n]


def _card(name: str, settings: DatasetSettings, notes: list[str]) -> dict[str, Any]:
    inherited = "; each passage inherits the grade of the text it is cut from" if settings.max_passage_words else ""
    return {
        "source": f"the folder {name} in BEIR layout ({_LAYOUT})",
        "licence": "not part of the layout; see where the set comes from",
        "description": f"{name}, a set in BEIR layout",
        "protocol": {
            "chunking": chunking.describe(settings.max_passage_words),
            "split_rule": "as given by the files qrels/train.tsv, dev.tsv and test.tsv",
            "judgements": f"as given; relevant from grade 1{inherited}",
        },
        "notes": notes,
    }
