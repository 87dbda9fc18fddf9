"""Read a collection through the library ir_datasets by its id, as in `irds:beir/scifact/test`."""

from __future__ import annotations

import contextlib
import difflib
from collections import Counter, defaultdict
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from harness.datasets import assembly, checks
from harness.datasets.settings import DatasetSettings
from harness.datasets.stored import gather
from harness.errors import DataError, DependencyError, HarnessError, OfflineError, UnknownNameError
from harness.types import Corpus, Dataset, Passage, Query, Split

INSTALL = 'pip install -c constraints.txt -e ".[irds]"'
_TEST = ("test", "dev", "validation", "val")
"""Parts of an id that name a split."""
_SIBLINGS = {"train": ("train",), "dev": ("dev", "validation", "val")}
_NO_SOURCE = "All download sources failed"
"""What ir_datasets says, in a RuntimeError, where a file has several sources."""
_TEXTS = ("text", "body", "abstract")
_TITLES = ("title", "document_title")


def load(given: str, settings: DatasetSettings) -> Dataset:
    """Read the collection `given`; its queries and judgements are the test split.

    train and dev are the ids beside it, as beir/scifact/train beside beir/scifact/test, where they search the same
    documents; else they are empty. Judgements of documents that the collection lacks are left out, aloud.

    Raises:
        DependencyError: ir_datasets, or a package it needs for this collection, is not installed.
        UnknownNameError: it knows no such id, or the id has no documents, queries and judgements.
        OfflineError: the collection is not on this machine and its publisher cannot be reached.
        DataError: an id holds white space, or a text cannot be used.
    """
    library = _library()
    chosen = _collection(library, given)
    with _reachable(given):
        corpus = gather(_passages(chosen, given))
    assembly.need_unique(corpus, f"irds:{given}")
    known = frozenset(corpus.docids)
    names = {"test": given, **_siblings(library, given)}
    notes: list[str] = []
    splits = {name: Split(name) for name in ("train", "dev", "test")}
    for name, dataset_id in names.items():
        with _reachable(dataset_id):
            splits[name] = _split(name, _collection(library, dataset_id), dataset_id, known, notes)
    assembly.need_test(splits["test"], notes, f"irds:{given}")
    return Dataset(given, corpus, **splits, card=_card(library, names, corpus, notes))


def _library() -> Any:
    try:
        import ir_datasets
    except ImportError as error:
        raise DependencyError("the library ir_datasets", "it is not installed", f"run: {INSTALL}") from error
    return ir_datasets


def _collection(library: Any, dataset_id: str) -> Any:
    try:
        found = library.load(dataset_id)
    except KeyError as error:
        near = difflib.get_close_matches(dataset_id, list(library.registry), n=3, cutoff=0.6)
        hint = f"use {' or '.join(near)}" if near else "look the id up in the catalogue of ir_datasets"
        raise UnknownNameError("an id that ir_datasets knows", repr(dataset_id), hint) from error
    missing = [kind for kind in ("docs", "queries", "qrels") if not found.has(kind)]
    if missing:
        parts = sorted(name for name in library.registry if name.startswith(f"{dataset_id}/"))
        hint = f"name a part of it, such as {' or '.join(parts[:3])}" if parts else "choose another id"
        raise UnknownNameError("documents, queries and judgements", f"{dataset_id!r} without {missing[0]}", hint)
    return found


@contextlib.contextmanager
def _reachable(dataset_id: str) -> Iterator[None]:
    """Turn what ir_datasets raises where it cannot fetch or read a collection into errors of ours."""
    where = f"irds:{dataset_id}"
    try:
        yield
    except HarnessError:
        raise
    except ImportError as error:
        raise DependencyError(f"what ir_datasets needs for {dataset_id}", str(error), f"run: {INSTALL}") from error
    except Exception as error:  # each of its many readers raises what it likes
        got = f"{type(error).__name__}: {checks.shown(str(error))}"
        if not isinstance(error, OSError) and _NO_SOURCE not in str(error):
            fix = "remove the collection from the library's folder, so that it is fetched again"
            raise DataError("a collection that ir_datasets can read", got, fix, file=where) from error
        raise OfflineError(
            f"the collection {dataset_id}, which ir_datasets fetches once from its publisher",
            got,
            "load it once where there is a network and copy the library's folder (IR_DATASETS_HOME, else .ir_datasets "
            "in your home), or save the set as a folder in BEIR layout and give its path",
            file=where,
        ) from error


def _siblings(library: Any, given: str) -> dict[str, str]:
    """Find the ids of the train and dev queries over the same documents."""
    parts = given.split("/")
    at = next((i for i, part in enumerate(parts) if part in _TEST), None)
    if at is None:
        return {}
    found: dict[str, str] = {}
    registered = set(library.registry)
    for split, names in _SIBLINGS.items():
        for name in names:
            sibling = "/".join([*parts[:at], name])
            if split not in found and name != parts[at] and sibling in registered and _alike(library, given, sibling):
                found[split] = sibling
    return found


def _alike(library: Any, given: str, sibling: str) -> bool:
    other = library.load(sibling)
    if not all(other.has(kind) for kind in ("docs", "queries", "qrels")):
        return False
    return bool(library.load(given).docs_handler() == other.docs_handler())


def _passages(chosen: Any, given: str) -> Iterator[Passage]:
    place = Path(f"irds:{given}/docs")
    for number, record in enumerate(chosen.docs_iter(), start=1):
        here = checks.Place(place, number)
        docid = checks.plain_id(record.doc_id, "a doc_id", here)
        title, text = _first(record, _TITLES, ""), _first(record, _TEXTS, None)
        if text is None:
            text = record.default_text()
        yield Passage(docid, checks.clean(title or "", "title", here), checks.clean(text, "text", here), docid)


def _first(record: Any, names: tuple[str, ...], default: str | None) -> str | None:
    found = (getattr(record, name) for name in names if isinstance(getattr(record, name, None), str))
    return next(found, default)


def _split(name: str, chosen: Any, dataset_id: str, known: frozenset[str], notes: list[str]) -> Split:
    qrels: dict[str, dict[str, int]] = defaultdict(dict)
    lost: Counter[str] = Counter()
    for judgement in chosen.qrels_iter():
        if judgement.doc_id in known:
            assembly.judge(qrels[judgement.query_id], judgement.doc_id, int(judgement.relevance))
        else:
            lost[judgement.doc_id] += 1
    if lost:
        notes.append(f"{name}: {lost.total()} judgements of documents that the collection lacks left out")
    return assembly.split(name, _asked(chosen, dataset_id, qrels), notes, frozenset(qrels))


def _asked(chosen: Any, dataset_id: str, qrels: dict[str, dict[str, int]]) -> Iterator[assembly.Asked]:
    for number, record in enumerate(chosen.queries_iter(), start=1):
        here = checks.Place(Path(f"irds:{dataset_id}/queries"), number)
        text = _first(record, ("text", "title"), None) or record.default_text()
        answers = getattr(record, "answers", None) or ()
        query = Query(
            checks.plain_id(record.query_id, "a query_id", here),
            checks.clean(text, "text", here),
            tuple(checks.clean(str(answer), "answers", here) for answer in answers),
        )
        yield assembly.Asked(query, qrels.get(record.query_id, {}), here)


def _card(library: Any, names: dict[str, str], corpus: Corpus, notes: list[str]) -> dict[str, Any]:
    said = ", ".join(f"{split} is {dataset_id}" for split, dataset_id in names.items())
    return {
        "source": f"{names['test']} through ir_datasets {library.__version__}",
        "licence": "that of the collection; see its page in the catalogue of ir_datasets",
        "description": f"{names['test']}, a collection of ir_datasets",
        "protocol": {"split_rule": f"ids of ir_datasets: {said}", "judgements": "as given; relevant from grade 1"},
        "notes": notes,
    }
