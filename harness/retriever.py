"""The door every system goes through, and how a system is declared."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Protocol, runtime_checkable

from harness.progress import SILENT, Progress

if TYPE_CHECKING:
    from pydantic import BaseModel

    from harness.types import Answer, Corpus, Hit, Passage, Split


@dataclass(frozen=True)
class Footprint:
    """What a system occupies when it answers queries.

    index_bytes: bytes of everything beside model weights (postings, vectors, tries, passage store).
    parameter_bytes: bytes of model weights; 0 for systems without a model.
    cache_bytes: bytes kept of earlier queries to answer later ones faster, which it could do without.
    """

    index_bytes: int
    parameter_bytes: int
    cache_bytes: int = 0

    def __add__(self, other: Footprint) -> Footprint:
        """Put two stages of one system together."""
        return Footprint(
            self.index_bytes + other.index_bytes,
            self.parameter_bytes + other.parameter_bytes,
            self.cache_bytes + other.cache_bytes,
        )


@runtime_checkable
class Retriever(Protocol):
    """A retrieval system."""

    def index(self, corpus: Corpus, train: Split, dev: Split, progress: Progress = SILENT) -> None:
        """Build all that `search` needs; may train on `train` and choose on `dev`, never sees test.

        Args:
            corpus: at least one passage; may hold passages of identical text or title.
            train: supervised queries, possibly none.
            dev: queries for choosing settings, possibly none.
            progress: told about phases; may be ignored.
        """

    def search(self, queries: Sequence[str], k: int) -> list[list[Hit]]:
        """Answer each query with at most `k` hits, score descending, ties by docid descending.

        An empty query, or one nothing matches, may return fewer hits or none. Never returns a docid twice
        for one query nor one outside the corpus. `k` is at least 1 and may exceed the corpus.
        """

    def save(self, folder: Path) -> None:
        """Write everything `load` needs into `folder` (exists, empty)."""

    def footprint(self) -> Footprint:
        """Report the bytes held for searching."""


class Counting(Protocol):
    """What generative systems also tell: totals since the last call of `search` began."""

    def counters(self) -> Mapping[str, float]:
        """Return queries, model_calls, invalid_docids, dead_beams and the shares (0..1) of the last search."""


@runtime_checkable
class Beamed(Protocol):
    """What systems that search with a beam also offer: quality against latency without training again."""

    def with_beam_size(self, beam_size: int) -> Retriever:
        """Return the same trained system searching with another beam size; it shares all else.

        `beam_size` is at least 1 (else ConfigError) and may exceed what there is to find.
        """


@runtime_checkable
class Tunable(Protocol):
    """What systems offer whose `System` names settings of the search: other ones without indexing again."""

    def with_settings(self, **changes: object) -> Retriever:
        """Return the same trained system with other values of settings that `System.of_search` names; it shares all
        else.

        Raises:
            ConfigError: another setting, or a value that cannot be.
        """


@runtime_checkable
class Resumable(Protocol):
    """What systems that train for long also offer: an interrupted training goes on where it was."""

    def keep_training_in(self, folder: Path) -> None:
        """Let `index` keep in `folder` what its training goes on from, and go on from what is there already.

        Called before `index`, if at all. The folder may not exist yet, and is the system's own. What is in it was left
        by an `index` of the same settings, seed and data that was stopped at any moment, by SIGKILL too. The training
        must end as if it had not been stopped, and `progress` must be told each row of the log once, those of the steps
        before included. The folder is deleted by whoever named it.
        """


def with_tokens_of(first: Retriever, figures: Mapping[str, float]) -> dict[str, float]:
    """Add the training tokens of a system's first stage, if it was trained, to the figures of its own training.

    So are the seconds (`earlier_s`) that trainings took before they were stopped and gone on with.
    """
    other: Mapping[str, float] = getattr(first, "training_summary", dict)()
    sums = {key: figures.get(key, 0) + other.get(key, 0) for key in ("train_tokens", "earlier_s")}
    return {**figures, **{key: value for key, value in sums.items() if value}}


@runtime_checkable
class Answering(Protocol):
    """What systems that also answer in words offer: the passages are found and read by the system itself."""

    def answer(self, queries: Sequence[str]) -> list[Answer]:
        """Answer each query, in order; one that is refused has an empty text."""


class Reranker(Protocol):
    """Orders given candidates."""

    def rerank(self, query: str, candidates: Sequence[Passage]) -> list[Hit]:
        """Score every candidate and return them best first."""


@dataclass(frozen=True)
class System:
    """A registered system: its name, what it belongs to, and how to make it.

    family: "sparse", "dense", "rerank", "generative", "self-retrieval" or "bracket" (oracle and random: bounds).
    config: pydantic model of its settings; unknown keys are refused.
    build: (settings, seed) -> an empty retriever.
    load: folder written by `save` -> a retriever ready to search.
    Importing the module that holds a System must not import torch, faiss or transformers.
    """

    name: str
    family: str
    summary: str
    config: type[BaseModel]
    build: Callable[[Any, int], Retriever]
    load: Callable[[Path], Retriever]
    sees_judgements: bool = False
    """True for the oracle alone: the runner calls its `reveal(split)` with the evaluated split before `index`."""
    of_search: frozenset[str] = frozenset()
    """Names of settings that change nothing of what `index` makes and `save` writes where `dev` has no queries: these
    may be changed by `Tunable.with_settings`, which a system that names any must offer."""
