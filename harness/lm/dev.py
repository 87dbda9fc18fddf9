"""Quality on dev queries while a model is being trained."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from statistics import fmean
from typing import Protocol

from harness.datasets.sampling import sample
from harness.lm.training import TrainingSettings
from harness.types import Hit, Split


class Searcher(Protocol):
    """What is measured: `harness.retriever.Retriever.search`."""

    def search(self, queries: Sequence[str], k: int) -> list[list[Hit]]:
        """Answer each query with at most `k` hits, best first."""


@dataclass(frozen=True)
class DevSearch:
    """An `Evaluation`: the mean of a measure over dev queries that the system itself searches.

    dev: the queries. searcher: makes a system over the weights as they are at that moment. measure: as
    `harness.measures.parse` takes it, with a cut-off.
    """

    dev: Split
    searcher: Callable[[], Searcher]
    measure: str = "RR@5"

    @property
    def identity(self) -> str:
        """Tell these queries and judgements from others."""
        asked = [(q.qid, q.text, sorted(self.dev.qrels.get(q.qid, {}).items())) for q in self.dev.queries]
        return hashlib.sha256(repr((self.measure, asked)).encode()).hexdigest()

    def score(self) -> float:
        """Search all queries and average; one that nothing is found for counts as 0."""
        from harness.measures import parse, per_query

        queries = self.dev.queries
        found = self.searcher().search([query.text for query in queries], int(self.measure.partition("@")[2]))
        qids = [query.qid for query in queries]
        values = per_query(dict(zip(qids, found, strict=True)), self.dev.qrels, qids, [self.measure])
        return fmean(values[parse(self.measure)].values())


def dev_search(settings: TrainingSettings, dev: Split, searcher: Callable[[], Searcher]) -> DevSearch | None:
    """Return how to measure a training on the `dev_queries` of `dev`; None where it is not asked for or has none."""
    chosen = sample(dev, settings.dev_queries)
    return DevSearch(chosen, searcher) if settings.dev_evaluations and len(chosen) else None
