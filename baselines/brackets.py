"""The two ends of every scale: an oracle that knows the judgements and a seeded random order."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from pathlib import Path

import numpy as np
from pydantic import BaseModel, ConfigDict

from baselines.saved import load_docids, load_state, save_docids, save_state, text_bytes
from harness.errors import ConfigError
from harness.progress import SILENT, Progress
from harness.ranking import ranked
from harness.retriever import Footprint, System
from harness.types import Corpus, Hit, Split


class NoSettings(BaseModel):
    """Nothing can be set."""

    model_config = ConfigDict(frozen=True, extra="forbid", use_attribute_docstrings=True)


class Oracle:
    """Returns exactly the relevant passages, scored by grade: the best any system can do at each depth.

    Queries are told apart by their text alone; two queries of one text share the higher grade of each passage.
    """

    def __init__(self) -> None:
        self._grades: dict[str, dict[str, int]] | None = None

    def reveal(self, split: Split) -> None:
        """Tell the judgements of the split that will be searched; called before `index`."""
        grades: dict[str, dict[str, int]] = {}
        for query in split.queries:
            known = grades.setdefault(query.text, {})
            for docid, grade in split.qrels.get(query.qid, {}).items():
                if grade >= 1:
                    known[docid] = max(grade, known.get(docid, grade))
        self._grades = grades

    def index(self, corpus: Corpus, train: Split, dev: Split, progress: Progress = SILENT) -> None:
        """Keep the judgements whose passage is in the corpus.

        Raises:
            ConfigError: no judgements were revealed.
        """
        self._grades = {
            text: {docid: grade for docid, grade in grades.items() if docid in corpus.row_of}
            for text, grades in self._revealed().items()
        }

    def search(self, queries: Sequence[str], k: int) -> list[list[Hit]]:
        """Return each query's relevant passages, highest grade first; none for a text that was not revealed."""
        grades = self._revealed()
        return [
            ranked((Hit(docid, float(grade)) for docid, grade in grades.get(query, {}).items()), k) for query in queries
        ]

    def _revealed(self) -> dict[str, dict[str, int]]:
        if self._grades is None:
            raise ConfigError("an oracle that was shown judgements", "none", "call reveal(split) before index")
        return self._grades

    def save(self, folder: Path) -> None:
        """Write the judgements."""
        save_state(folder, ORACLE.name, {"grades": self._revealed()})

    @classmethod
    def load(cls, folder: Path) -> Oracle:
        """Read what `save` wrote.

        Raises:
            RunFolderError: the file is absent or damaged.
        """
        oracle = cls()
        oracle._grades = load_state(folder, ORACLE.name)["grades"]
        return oracle

    def footprint(self) -> Footprint:
        """Count the query texts, and docid and grade (4 bytes) of each judgement."""
        grades = self._revealed()
        judgements = sum(text_bytes(known) + 4 * len(known) for known in grades.values())
        return Footprint(text_bytes(grades) + judgements, 0)


class Random:
    """Returns passages in an order drawn from the seed and the text of the query; what chance alone reaches."""

    def __init__(self, seed: int) -> None:
        self._seed = seed
        self._docids: tuple[str, ...] = ()

    def index(self, corpus: Corpus, train: Split, dev: Split, progress: Progress = SILENT) -> None:
        """Remember the docids."""
        self._docids = corpus.docids

    def search(self, queries: Sequence[str], k: int) -> list[list[Hit]]:
        """Return the first `k` passages of each query's permutation; fewer hits are a prefix of more."""
        return [self._search(query, k) for query in queries]

    def _search(self, query: str, k: int) -> list[Hit]:
        digest = hashlib.sha256(f"{self._seed}|{query}".encode()).digest()
        order = np.random.default_rng(int.from_bytes(digest)).permutation(len(self._docids))
        # Whole numbers, so that no run file rounds two ranks to one score.
        return ranked(
            (Hit(self._docids[row], float(len(order) - rank)) for rank, row in enumerate(order[:k].tolist())), k
        )

    def save(self, folder: Path) -> None:
        """Write the seed and the docids."""
        save_state(folder, RANDOM.name, {"seed": self._seed})
        save_docids(folder, self._docids)

    @classmethod
    def load(cls, folder: Path) -> Random:
        """Read what `save` wrote.

        Raises:
            RunFolderError: a file is absent or damaged.
        """
        retriever = cls(load_state(folder, RANDOM.name)["seed"])
        retriever._docids = load_docids(folder)
        return retriever

    def footprint(self) -> Footprint:
        """Count the docids."""
        return Footprint(text_bytes(self._docids), 0)


ORACLE = System(
    name="oracle",
    family="bracket",
    summary="Knows the judgements: the ceiling of every measure",
    config=NoSettings,
    build=lambda settings, seed: Oracle(),
    load=Oracle.load,
    sees_judgements=True,
)

RANDOM = System(
    name="random",
    family="bracket",
    summary="A seeded random order of all passages for each query: the floor of every measure",
    config=NoSettings,
    build=lambda settings, seed: Random(seed),
    load=Random.load,
)
