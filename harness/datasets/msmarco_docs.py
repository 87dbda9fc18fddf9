"""Read MS MARCO documents with the samples of Ultron: the documents clicked in training, or its 300k random ones.

Files, each also with .gz behind its name: msmarco-docs.tsv (docid, url, title, body), msmarco-doctrain-queries.tsv and
msmarco-docdev-queries.tsv (qid, query), msmarco-doctrain-qrels.tsv and msmarco-docdev-qrels.tsv (qid 0 docid 1).
Ultron's own scripts take a document into "top 300k" if a training query clicked it, and list "rand 300k" in a file.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any

from harness.datasets import assembly, checks, files, published
from harness.datasets.settings import DatasetSettings
from harness.datasets.stored import gather
from harness.types import Dataset, Passage, Query, Split

RANDOM = "msmarco-docids.rand.300k.txt"
_SETS = {"train": "doctrain", "test": "docdev"}
_LAYOUT = "msmarco-docs.tsv and the queries and qrels of MS MARCO's document ranking, doctrain and docdev"
_WHERE = "MS MARCO's page of the document ranking task"
_SAMPLES = {
    "top": "the documents that a training query clicked (Ultron's top 300k), in the order of the file",
    "rand": f"the documents that Ultron lists in {RANDOM}, in the order of the file",
    "all": "all documents",
}

Qrels = Mapping[str, Mapping[str, int]]


def load(given: str, settings: DatasetSettings) -> Dataset:
    """Read a folder and take the documents that `msmarco_documents` names: "top", "rand" or "all".

    The dev queries are the test split. A query none of whose clicked documents is in the sample is left out, aloud.

    Raises:
        DataError: a file is missing or malformed; names the file and the line.
    """
    folder = published.folder(given, _LAYOUT)
    docs = _file(folder, "msmarco-docs.tsv")
    asked = {split: _file(folder, f"msmarco-{name}-queries.tsv") for split, name in _SETS.items()}
    qrels = {split: _qrels(_file(folder, f"msmarco-{name}-qrels.tsv")) for split, name in _SETS.items()}
    corpus = gather(_passages(docs, _wanted(settings.msmarco_documents, folder, qrels["train"])))
    assembly.need_unique(corpus, docs.path)
    known = frozenset(corpus.docids)
    notes: list[str] = []
    splits = {split: _split(split, asked[split], qrels[split], known, notes) for split in _SETS}
    assembly.need_test(splits["test"], notes, asked["test"].path)
    return Dataset("msmarco-docs", corpus, dev=Split("dev"), **splits, card=_card(settings, notes))


def _file(folder: Path, name: str) -> files.File:
    return files.of(published.file(folder, name, _WHERE, packed=True))


def _wanted(sample: str, folder: Path, train: Qrels) -> Callable[[str], bool]:
    """Tell of a docid whether its document belongs to the sample."""
    if sample == "all":
        return lambda docid: True
    if sample == "top":
        return frozenset(docid for judged in train.values() for docid, grade in judged.items() if grade).__contains__
    path = published.file(folder, RANDOM, "the repository of WebUltron, folder dataset/msmarco-data")
    return frozenset(checks.plain_id(line.strip(), "a docid", place) for place, line in checks.lines(path)).__contains__


def _columns(file: files.File, names: tuple[str, ...]) -> Iterator[tuple[checks.Place, list[str]]]:
    for place, line in checks.lines(file):
        columns = line.split("\t")
        if len(columns) != len(names):
            got = f"{len(columns)}: {checks.shown(line)}"
            wanted = f"{len(names)} columns separated by tabs ({', '.join(names)})"
            raise place.error(wanted, got, "get the file again, or correct this line")
        checks.plain_id(columns[0], f"a {names[0]}", place)
        yield place, columns


def _passages(docs: files.File, wanted: Callable[[str], bool]) -> Iterator[Passage]:
    for _, (docid, _, title, body) in _columns(docs, ("docid", "url", "title", "body")):
        if wanted(docid):
            yield Passage(docid, title, body, docid)


def _qrels(file: files.File) -> Qrels:
    qrels: dict[str, dict[str, int]] = defaultdict(dict)
    for judgement in checks.judgements(file):
        assembly.judge(qrels[judgement.qid], judgement.docid, judgement.grade)
    return qrels


def _split(name: str, file: files.File, qrels: Qrels, known: frozenset[str], notes: list[str]) -> Split:
    def asked() -> Iterator[assembly.Asked]:
        for place, (qid, text) in _columns(file, ("qid", "query")):
            judged = {docid: grade for docid, grade in qrels.get(qid, {}).items() if docid in known}
            yield assembly.Asked(Query(qid, text), judged, place)

    return assembly.split(name, asked(), notes, qrels)


def _card(settings: DatasetSettings, notes: list[str]) -> dict[str, Any]:
    sample = settings.msmarco_documents
    return {
        "source": "the files of MS MARCO's document ranking task, version 1",
        "licence": "non-commercial research only (MS MARCO's terms)",
        "description": "Web pages with the Bing queries that led to them; retrieval of documents",
        "protocol": {
            "collection": f"{sample}: {_SAMPLES[sample]}",
            "split_rule": "train is doctrain; test is docdev, as in Ultron's evaluation",
            "judgements": "grade 1 for the page that was clicked; judgements of documents outside the sample left out",
        },
        "notes": notes,
    }
