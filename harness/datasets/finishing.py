"""What every dataset goes through once its source has read it: split, sampled, cut, merged, and described."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import replace
from typing import Any

from pyarrow import compute

from harness.datasets import builtin, cutting, dedupe, leaks, sampling, splitting, stored, titles
from harness.datasets.settings import DatasetSettings
from harness.datasets.titlewriter import BackboneWriter
from harness.progress import SILENT, Progress
from harness.types import Dataset


def finish(dataset: Dataset, settings: DatasetSettings, progress: Progress = SILENT) -> Dataset:
    """Do to a dataset what the settings say and write its card: counts, protocol, notes, checksum.

    In this order: split the queries, sample the test queries, sample documents, write titles, cut texts, merge equal
    passages.

    Raises:
        ConfigError: a setting does not fit the data.
        DataError: no query is left for the test split.
    """
    done, protocol = dataset, dict(dataset.card["protocol"])
    notes = list(dataset.card["notes"])
    if settings.resplit is not None:
        done = splitting.resplit(done, settings.resplit)
        protocol["split_rule"] = splitting.describe(settings.resplit)
    done, protocol["sample"] = _fewer_queries(done, settings.max_test_queries)
    done, protocol["documents"] = sampling.documents(done, settings.max_documents)
    if settings.generate_titles is not None:
        done, protocol["titles"] = titles.fill(done, BackboneWriter(settings.generate_titles), progress)
    done = _cut(done, settings, protocol, progress)
    protocol["deduplication"] = dedupe.describe(settings.deduplicate)
    if settings.deduplicate == "text":
        before = len(done.corpus)
        done, gone = dedupe.merge(done, progress)
        notes.append(f"{gone} of {before} passages merged with one that says the same")
        if settings.resplit is not None and settings.resplit.by == "document":
            notes += _joined(done)
    return replace(done, card=_card(done, protocol, [*notes, *_leaks(done, progress)], progress))


def _fewer_queries(dataset: Dataset, n: int | None) -> tuple[Dataset, str]:
    test = sampling.sample(dataset.test, n)
    return replace(dataset, test=test), sampling.describe(len(test), len(dataset.test))


def _cut(dataset: Dataset, settings: DatasetSettings, protocol: dict[str, Any], progress: Progress) -> Dataset:
    """Cut texts and say so in `protocol`; a source may have cut them before."""
    said = [text for text in (protocol.pop("chunking", None), cutting.describe(settings)) if text]
    rule = cutting.Rule.of(settings)
    if rule is None:
        protocol["chunking"] = said[0]
        return dataset
    protocol["chunking"] = "; then ".join(said)
    # The built-in set says in its own card how its opening passages are graded.
    bonus = builtin.OPENING_BONUS if dataset.name in dict(builtin.names()) else 0
    if not bonus:
        protocol["judgements"] += "; each passage inherits the grade of the text it is cut from"
    progress.phase("cut", unit="passages")
    with stored.watched(progress):
        return cutting.divide(dataset, rule, bonus)


def _joined(dataset: Dataset) -> Iterator[str]:
    """Say how many test queries a merge gave a relevant passage that training or dev queries have too."""
    seen = {docid for split in (dataset.train, dataset.dev) for qrels in split.qrels.values() for docid in _gold(qrels)}
    shared = sum(not seen.isdisjoint(_gold(qrels)) for qrels in dataset.test.qrels.values())
    if shared:
        yield f"after merging, {shared} of {len(dataset.test)} test queries share a relevant passage with train or dev"


def _gold(qrels: Mapping[str, int]) -> Iterator[str]:
    return (docid for docid, grade in qrels.items() if grade >= 1)


def _leaks(dataset: Dataset, progress: Progress) -> Iterator[str]:
    test = dataset.test
    for split in (dataset.train, dataset.dev):
        if leaked := leaks.repeated(test, [split]):
            yield f"{len(leaked)} of {len(test)} test queries occur in {split.name} too ({leaks.some(leaked)})"
    for name, found in leaks.verbatim(dataset, progress).items():
        yield from found.notes(dataset.split(name))


def _card(dataset: Dataset, protocol: dict[str, Any], notes: list[str], progress: Progress) -> dict[str, Any]:
    progress.phase("checksum", len(dataset.corpus), "passages")
    return {
        "name": dataset.name,
        **dataset.card,
        "passages": len(dataset.corpus),
        "documents": compute.count_distinct(dataset.corpus.table.column("document")).as_py(),
        "queries": {split.name: len(split) for split in (dataset.train, dataset.dev, dataset.test)},
        "checksum": stored.checksum(dataset, progress),
        "protocol": protocol,
        "notes": notes,
    }
