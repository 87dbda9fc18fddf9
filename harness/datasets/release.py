"""Read the official release of Self-Retrieval: docs.json, train.json and test.json in one folder.

What the released scripts read of these files, and so what is relied on:

docs.json   one JSON array of {"wikipedia_id": "…", "title": "…", "chunks": ["…", …]}; the id may be a number.
train.json, test.json   one JSON object a line: "query", "answers" and mostly "id". "answers" is one object or a list
            of {"answer": "…", "context": [{"wikipedia_id": "…", "chunk_id": 3}, …]}; other keys are not read.

A context marked "neg" (written by the script that adds negatives) or "contain" (a passage that holds the answer string,
which the released training settings skip) is no judgement of relevance. The scripts skip contexts of documents that
docs.json does not hold; so does this, aloud. A chunk_id beyond the document would stop them; here it is an error.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from harness.datasets import assembly, checks, jsonarray, paths, published
from harness.datasets.settings import DatasetSettings
from harness.datasets.stored import gather
from harness.types import Dataset, Passage, Query, Split

_LAYOUT = "docs.json, train.json and test.json of the Self-Retrieval release"
_WHERE = "the data folder that the README of the Self-Retrieval release links to (NQ or TriviaQA)"


def load(given: str, settings: DatasetSettings) -> Dataset:
    """Read a folder of the release; passages are as its authors cut them, docids `wikipedia_id.chunk_id`.

    Raises:
        DataError: a file is missing or not as the scripts read it; names the file and the line.
    """
    folder = published.folder(given, _LAYOUT)
    docs = published.file(folder, "docs.json", _WHERE)
    chunks: Counter[str] = Counter()
    corpus = gather(_passages(docs, chunks))
    assembly.need_unique(corpus, docs)
    notes: list[str] = []
    test_file = published.file(folder, "test.json", _WHERE)
    train = _split("train", published.file(folder, "train.json", _WHERE), chunks, notes)
    test = _split("test", test_file, chunks, notes)
    assembly.need_test(test, notes, test_file)
    name = paths.readable(folder.resolve().name) or "release"
    return Dataset(name, corpus, train, Split("dev"), test, card=_card(name, notes))


def _passages(docs: Path, chunks: Counter[str]) -> Iterator[Passage]:
    for place, record in jsonarray.items(docs):
        if not isinstance(record, dict):
            raise place.error("documents that are JSON objects", checks.shown(record), "check the file")
        document = _document(record, place)
        if document in chunks:
            raise place.error("every document to have a wikipedia_id of its own", f"{document!r} again", "keep one")
        title = checks.string(record, "title", place)
        texts = record.get("chunks")
        if not isinstance(texts, list):
            raise place.error("'chunks' to be a list of strings", checks.shown(texts), "check the file")
        chunks[document] = len(texts)
        for number, text in enumerate(texts):
            yield Passage(f"{document}.{number}", title, checks.string({"chunks": text}, "chunks", place), document)


def _split(name: str, path: Path, chunks: Mapping[str, int], notes: list[str]) -> Split:
    lost: Counter[str] = Counter()
    split = assembly.split(name, _asked(name, path, chunks, lost), notes)
    if lost:
        notes.append(f"{name}: {lost.total()} judgements of documents that docs.json does not hold left out")
    return split


def _asked(name: str, path: Path, chunks: Mapping[str, int], lost: Counter[str]) -> Iterator[assembly.Asked]:
    for place, record in checks.records(path):
        qid = checks.string(record, "id", place, "") or f"{name}-{place.line}"
        answers: list[str] = []
        judged: dict[str, int] = {}
        for answer in _objects(record.get("answers"), "answers", place):
            if text := checks.string(answer, "answer", place):
                answers.append(text)
            for context in _objects(answer.get("context"), "context", place):
                if not context.get("neg") and not context.get("contain"):
                    _judge(context, chunks, judged, lost, place)
        query = Query(
            checks.plain_id(qid, "an id", place), checks.string(record, "query", place), tuple(dict.fromkeys(answers))
        )
        yield assembly.Asked(query, judged, place)


def _judge(
    context: Mapping[str, Any],
    chunks: Mapping[str, int],
    judged: dict[str, int],
    lost: Counter[str],
    place: checks.Place,
) -> None:
    document, number = _document(context, place), context.get("chunk_id")
    if not isinstance(number, int) or isinstance(number, bool):
        raise place.error("the field 'chunk_id' to be an integer", checks.shown(number), "check the file")
    if document not in chunks:
        lost[document] += 1
    elif 0 <= number < chunks[document]:
        judged[f"{document}.{number}"] = 1
    else:
        got = f"chunk_id {number} of document {document!r}, which has {chunks[document]}"
        raise place.error("judgements of passages in docs.json", got, "take files of the same release")


def _objects(value: Any, key: str, place: checks.Place) -> list[dict[str, Any]]:
    """Return one object or a list of objects as a list."""
    found = [value] if isinstance(value, dict) else value
    if not isinstance(found, list) or not all(isinstance(each, dict) for each in found):
        raise place.error(f"{key!r} to be a list of objects", checks.shown(value), "check the file")
    return found


def _document(record: Mapping[str, Any], place: checks.Place) -> str:
    found = record.get("wikipedia_id")
    if isinstance(found, int) and not isinstance(found, bool):
        return str(found)
    return checks.plain_id(checks.string(record, "wikipedia_id", place), "a wikipedia_id", place)


def _card(name: str, notes: list[str]) -> dict[str, Any]:
    return {
        "source": f"the folder {name} of the official Self-Retrieval release (docs.json, train.json, test.json)",
        "licence": "texts of Wikipedia, CC BY-SA; the release names none for its files",
        "description": f"{name} as the authors of Self-Retrieval release it",
        "protocol": {
            "chunking": "as released: passages of at most 200 words, cut by its authors",
            "split_rule": "as given by train.json and test.json; the release has no dev split",
            "judgements": "grade 1 for the contexts of an answer; those marked 'neg' or 'contain' are not counted",
        },
        "notes": notes,
    }
