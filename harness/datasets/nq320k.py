"""Read NQ320K, Natural Questions with one Wikipedia page a question, as the authors of NCI or of GenRet ship it.

NCI (the output of its notebook): NQ_doc_content.tsv (document number, 2 empty columns, title, abstract and content run
together, 2 empty columns, "en"); nq_train_doc_newid.tsv and nq_dev_doc_newid.tsv (question, example id, document
number, semantic id; quoted as in CSV where needed).
GenRet: corpus_lite.json (an array of texts; a document's number is its place); train.json and dev.json (arrays of
[question, document number or a list of them]). Generated questions (train.json.qg.json, nq_512_qg.tsv) are not read.

Neither has titles apart from the texts; `generate_titles` writes some.
"""

from __future__ import annotations

import csv
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from harness.datasets import assembly, checks, jsonarray, published
from harness.datasets.settings import DatasetSettings
from harness.datasets.stored import gather
from harness.errors import DataError
from harness.types import Dataset, Passage, Query, Split

Documents = Mapping[str, str]
"""Number of a document as shipped -> docid of the one that stands for it."""

_NCI = "NQ_doc_content.tsv"
_GENRET = "corpus_lite.json"
_LAYOUT = f"{_GENRET}, train.json and dev.json (GenRet), or {_NCI}, nq_train_doc_newid.tsv, nq_dev_doc_newid.tsv (NCI)"
_WHERE = {
    _NCI: "the NQ data that the README of NCI (Neural Corpus Indexer) links to, or write it with NCI's notebook",
    _GENRET: "the data set nq320k that the authors of GenRet (Learning to Tokenize for Generative Retrieval) share",
}
_FILES = {
    _NCI: {"train": "nq_train_doc_newid.tsv", "test": "nq_dev_doc_newid.tsv"},
    _GENRET: {"train": "train.json", "test": "dev.json"},
}
_PROTOCOLS = {
    "title-dedup": "documents as shipped: of the pages with one title, their makers kept the first",
    "text-only": "of the documents as shipped, those with the same text are one, which inherits all judgements",
}


def load(given: str, settings: DatasetSettings) -> Dataset:
    """Read a folder in either layout; docids are the numbers of the documents.

    `nq320k_documents` chooses what one document is; the card says it. The dev questions are the test split.

    Raises:
        DataError: a file is missing or malformed; names the file and the line.
    """
    folder = published.folder(given, _LAYOUT)
    content = _layout(folder)
    files = {split: published.file(folder, name, _WHERE[content]) for split, name in _FILES[content].items()}
    documents: dict[str, str] = {}
    texts = _nci_texts(folder / content) if content == _NCI else _genret_texts(folder / content)
    corpus = gather(_passages(texts, documents, merged=settings.nq320k_documents == "text-only"))
    assembly.need_unique(corpus, folder / content)
    notes: list[str] = []
    read = _nci_queries if content == _NCI else _genret_queries
    splits = {split: assembly.split(split, read(split, path, documents), notes) for split, path in files.items()}
    assembly.need_test(splits["test"], notes, files["test"])
    if len(corpus) < len(documents):
        notes.append(f"{len(documents) - len(corpus)} of {len(documents)} documents merged with one of the same text")
    return Dataset("nq320k", corpus, dev=Split("dev"), **splits, card=_card(content, settings, notes))


def _layout(folder: Path) -> str:
    """Tell the layout by the file of documents."""
    found = [name for name in (_GENRET, _NCI) if checks.exists(folder / name)]
    if len(found) == 1:
        return found[0]
    fix = "; ".join(f"{name}: get it from {where}" for name, where in _WHERE.items())
    got = "both layouts in one folder" if found else "neither's file of documents"
    raise DataError(f"a folder with {_LAYOUT}", got, "keep one of them" if found else fix, file=folder)


def _passages(
    texts: Iterator[tuple[checks.Place, str, str]], documents: dict[str, str], *, merged: bool
) -> Iterator[Passage]:
    first: dict[str, str] = {}
    for place, number, text in texts:
        if number in documents:
            raise place.error("every document to have a number of its own", f"{number} again", "keep one of the two")
        same = first.setdefault(_digest(text), number) if merged else number
        documents[number] = same
        if same == number:
            yield Passage(number, "", text, number)


def _digest(text: str) -> str:
    import hashlib

    return hashlib.sha256(text.encode()).hexdigest()


def _nci_texts(path: Path) -> Iterator[tuple[checks.Place, str, str]]:
    for place, line in checks.lines(path):
        columns = line.split("\t")
        if len(columns) != 7:
            got = f"{len(columns)} columns: {checks.shown(line)}"
            raise place.error("7 columns separated by tabs (number, …, text, …, language)", got, "correct this line")
        yield place, checks.plain_id(columns[0], "a document number", place), columns[3]


def _nci_queries(split: str, path: Path, documents: Documents) -> Iterator[assembly.Asked]:
    for place, line in checks.lines(path):
        columns = _csv(line, place)
        if len(columns) != 4:
            got = f"{len(columns)} columns: {checks.shown(line)}"
            fix = "correct this line"
            raise place.error("4 columns separated by tabs (question, example id, number, semantic id)", got, fix)
        text, example, number, _ = columns
        query = Query(checks.plain_id(example, "an example id", place), text)
        yield assembly.Asked(query, {_known(number, documents, place): 1}, place)


def _csv(line: str, place: checks.Place) -> list[str]:
    try:
        return next(csv.reader([line], delimiter="\t", strict=True))
    except csv.Error as error:
        raise place.error("columns as in CSV, separated by tabs", str(error), "correct this line") from error


def _genret_texts(path: Path) -> Iterator[tuple[checks.Place, str, str]]:
    for number, (place, text) in enumerate(jsonarray.items(path)):
        yield place, str(number), checks.string({"document": text}, "document", place)


def _genret_queries(split: str, path: Path, documents: Documents) -> Iterator[assembly.Asked]:
    for number, (place, pair) in enumerate(jsonarray.items(path)):
        if not isinstance(pair, list) or len(pair) != 2:
            raise place.error("pairs [question, document number]", checks.shown(pair), "check the file")
        text = checks.string({"question": pair[0]}, "question", place)
        judged = {_known(each, documents, place): 1 for each in _numbers(pair[1], place)}
        yield assembly.Asked(Query(f"{split}-{number}", text), judged, place)


def _numbers(label: Any, place: checks.Place) -> list[str]:
    labels = label if isinstance(label, list) else [label]
    if not labels or not all(isinstance(each, int) and not isinstance(each, bool) for each in labels):
        got = checks.shown(label)
        raise place.error("a document number, or a list of them, behind the question", got, "check the file")
    return [str(each) for each in labels]


def _known(number: str, documents: Documents, place: checks.Place) -> str:
    if number not in documents:
        got = f"the number {checks.shown(number)}, which no document has"
        raise place.error("judgements of documents in the corpus", got, "take files of the same set")
    return documents[number]


def _card(content: str, settings: DatasetSettings, notes: list[str]) -> dict[str, Any]:
    protocol = settings.nq320k_documents
    return {
        "source": f"NQ320K as the authors of {'NCI' if content == _NCI else 'GenRet'} ship it ({content})",
        "licence": "CC BY-SA 3.0 (Natural Questions; Wikipedia)",
        "description": "Natural Questions, each with the Wikipedia page that answers it; retrieval of documents",
        "protocol": {
            "collection": f"{protocol}: {_PROTOCOLS[protocol]}",
            "split_rule": "train as given; test is the dev set of Natural Questions; generated questions are not used",
            "judgements": "grade 1 for the page a question was asked with",
        },
        "notes": notes,
    }
