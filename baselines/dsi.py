"""DSI: a language model maps text straight to a passage's identifier (Tay et al., NeurIPS 2022).

Indexing and retrieval are one task, text -> docid: sentences of a passage and training queries lead to its
identifier. Search is beam search in a trie of all identifiers, so nothing invalid is returned. Backbone, training
loop, trie and beam are those of every generative system here; the original trains T5 for far longer.
"""

from __future__ import annotations

import random
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import ClassVar, Literal, NamedTuple, Self

import numpy as np
from pydantic import Field, model_validator

from baselines import docids
from baselines.encoder import EMBEDDED as EMBEDDED_ENCODER
from baselines.saved import AGAIN, STATE, load_docids, load_state, save_docids, save_state, text_bytes
from harness.errors import ConfigError, DataError
from harness.growing import GrowingSettings
from harness.jsonfile import check_keys
from harness.lm.backbone import EMBEDDED, Backbone, load
from harness.lm.beam import Hypothesis, constrained_search
from harness.lm.dev import dev_search
from harness.lm.examples import Example, Piece, join, memorable, spend_shares, supervised_pairs
from harness.lm.objective import refuse_longer
from harness.lm.processes import from_first
from harness.lm.pseudo_queries import PseudoQueries, PseudoQuerySettings, write_pseudo_queries
from harness.lm.session import told
from harness.lm.training import TrainingSettings, TrainingSummary
from harness.lm.training import train as train_backbone
from harness.lm.trie import TokenTrie
from harness.progress import SILENT, Progress
from harness.ranking import ranked
from harness.retriever import Footprint, System
from harness.types import Corpus, Hit, Split
from harness.validation import searched_with, validated

NAME = "dsi"
QUESTION = "Question: {query}"
IDENTIFIER = "\n\n Document identifier:"
OF_SEARCH = frozenset({"beam_size", "query_batch"})
"""Settings that a trained system can be searched with anew."""


class DsiShares(GrowingSettings):
    """Share of the training tokens each view gets; the sum need not be 1."""

    added: ClassVar[frozenset[str]] = frozenset({"pseudo"})

    sentence: float = Field(0.70, ge=0)
    """Indexing: a sentence of a passage -> its identifier."""
    query: float = Field(0.30, ge=0)
    """Retrieval: a training query -> the identifier of its passage."""
    pseudo: float = Field(0.0, ge=0)
    """Retrieval (DSI-QG): a pseudo-query -> the identifier of its passage; needs `pseudo_queries`."""


class DsiSettings(GrowingSettings):
    """Settings of DSI."""

    added: ClassVar[frozenset[str]] = frozenset({"pseudo_queries"})

    backbone: str = EMBEDDED
    """"embedded" (the packaged SmolLM2-135M-Instruct; "embedded#layers=10": its first ten layers), a folder, or the id
    of a model on the Hugging Face hub."""
    docid: Literal["semantic", "naive", "random"] = "semantic"
    """Identifiers: paths of hierarchical k-means, row numbers, or random ones, the controls (`baselines/docids.py`)."""
    radix: int = Field(10, ge=2, le=len(docids.ALPHABET))
    """Symbols an identifier is spelled with; also clusters a level and passages a leaf of semantic ones."""
    encoder: str = EMBEDDED_ENCODER
    """Sentence encoder whose vectors are clustered for semantic identifiers."""
    beam_size: int = Field(20, ge=1)
    """Beams, and so the most hits a query can have."""
    shares: DsiShares = DsiShares()
    training: TrainingSettings = TrainingSettings()
    pseudo_queries: PseudoQuerySettings = PseudoQuerySettings()
    """Queries that the backbone writes for the passages before it is trained, for `shares.pseudo`."""
    dtype: str = Field("auto", pattern="^(auto|float32|bfloat16)$")
    """Number type of the weights when searching and on disk."""
    query_batch: int = Field(16, ge=1)
    """Questions searched together."""
    query_tokens: int = Field(512, ge=8)
    """A longer query is cut after so many tokens."""

    @model_validator(mode="after")
    def _has_what_it_learns_from(self) -> Self:
        self.pseudo_queries.check(self.shares.pseudo)
        return self


class _Parts(NamedTuple):
    """What a retriever searches with; item `i` of the trie is `docids[i]`."""

    backbone: Backbone
    trie: TokenTrie
    docids: tuple[str, ...]


class Dsi:
    """One language model that answers with identifiers."""

    def __init__(self, settings: DsiSettings | None = None, seed: int = 0) -> None:
        self.settings = settings or DsiSettings()
        self.seed = seed
        self._parts: _Parts | None = None
        self._summary: TrainingSummary | None = None
        self._training_folder: Path | None = None
        self._counters: dict[str, float] = {}

    def index(self, corpus: Corpus, train: Split, dev: Split, progress: Progress = SILENT) -> None:
        """Give every passage an identifier and train text -> identifier; `dev` chooses the weights where asked for."""
        progress.phase("identifiers")
        codes = from_first(lambda: self._codes(corpus))
        pseudo = write_pseudo_queries(
            self.settings.backbone,
            corpus,
            train,
            self.settings.pseudo_queries,
            dtype=self.settings.dtype,
            seed=self.seed,
            progress=progress,
            checkpoints=self._training_folder,
        )
        progress.phase("load backbone")
        backbone = load(self.settings.backbone)
        symbols = _symbol_tokens(backbone)
        sequences = [[*(symbols[s] for s in code), backbone.end] for code in codes]
        if self.settings.training.loss == "targets":
            backbone = backbone.restricted(_vocabulary(sequences))
        examples = self._examples(backbone, corpus, train, pseudo, sequences)
        parts = _Parts(backbone, TokenTrie.from_sequences(sequences), corpus.docids)
        self._summary = train_backbone(
            backbone,
            examples,
            self.settings.training,
            seed=self.seed,
            progress=progress,
            checkpoints=self._training_folder,
            evaluate=dev_search(self.settings.training, dev, lambda: self._in_training(parts)),
        ).behind(pseudo.summary)
        self._parts = parts._replace(backbone=backbone.astype(self.settings.dtype))

    def keep_training_in(self, folder: Path) -> None:
        """Let `index` keep in `folder` what an interrupted training goes on from; see `harness.retriever.Resumable`."""
        self._training_folder = folder

    def _in_training(self, parts: _Parts) -> Dsi:
        """Return a system that searches with the weights as they are in the middle of the training."""
        other = Dsi(self.settings, self.seed)
        other._parts = parts._replace(backbone=parts.backbone.restricted(parts.backbone.vocabulary))
        return other

    def _codes(self, corpus: Corpus) -> list[docids.Code]:
        if self.settings.docid == "naive":
            return docids.naive(len(corpus), self.settings.radix)
        if self.settings.docid == "random":
            return docids.shuffled(len(corpus), self.settings.radix, self.seed)
        from baselines.encoder import Encoder

        texts = [f"{p.title}. {p.text}" for p in corpus]
        return docids.semantic(Encoder(self.settings.encoder, True).encode(texts, 32), self.settings.radix, self.seed)

    def _examples(
        self,
        backbone: Backbone,
        corpus: Corpus,
        split: Split,
        pseudo: PseudoQueries,
        sequences: Sequence[Sequence[int]],
    ) -> list[Example]:
        """Spend the token budget; indexing and retrieval are trained together, as in the paper."""
        said: list[tuple[str, int]] = []
        for row, passage in enumerate(corpus):
            said += [(s, row) for s in memorable(passage.text)]
        asked = [(query.text, row) for query, row in supervised_pairs(split, corpus)]
        longest = self.settings.query_tokens
        pools = {
            "sentence": _views(backbone, said, sequences, longest),
            "query": _views(backbone, asked, sequences, longest),
            "pseudo": _views(backbone, [(query.text, row) for query, row in pseudo.pairs], sequences, longest),
        }
        rng = random.Random(self.seed)
        parts = spend_shares(pools, self.settings.shares.model_dump(), self.settings.training.tokens, rng)
        drawn = [example for part in parts.values() for example in part]
        rng.shuffle(drawn)
        return drawn

    def search(self, queries: Sequence[str], k: int) -> list[list[Hit]]:
        """Answer each query with at most min(k, beam_size) hits; the score is log P(identifier | query).

        Raises:
            ConfigError: a query is longer than the backbone reads.
        """
        backbone, trie, _ = self._ready()
        prompts = _prompts(backbone, queries, self.settings.query_tokens)
        refuse_longer(backbone, max(map(len, prompts), default=0) + trie.height, "a query with its identifier")
        self._counters = {"queries": len(queries), "model_calls": 0, "invalid_docids": 0, "dead_beams": 0}
        found = constrained_search(
            backbone,
            prompts,
            trie,
            beam_size=self.settings.beam_size,
            length_penalty=0.0,
            batch_size=self.settings.query_batch,
            counters=self._counters,
        )
        return [ranked(self._hits(hypotheses), k) for hypotheses in found]

    def _hits(self, hypotheses: Sequence[Hypothesis]) -> list[Hit]:
        _, trie, names = self._ready()
        self._counters["invalid_docids"] += sum(not len(trie.items_at(h.node)) for h in hypotheses)
        return [Hit(names[item], h.logprob) for h in hypotheses for item in trie.items_at(h.node)]

    def with_beam_size(self, beam_size: int) -> Dsi:
        """Return the same trained system with another `beam_size`; weights and trie are shared, not copied.

        Raises:
            ConfigError: below 1.
        """
        return self.with_settings(beam_size=beam_size)

    def with_settings(self, **changes: object) -> Dsi:
        """Return the same trained system with other settings of its search; see `harness.retriever.Tunable`."""
        other = Dsi(searched_with(self.settings, changes, OF_SEARCH), self.seed)
        other._parts, other._summary = self._parts, self._summary
        return other

    def counters(self) -> Mapping[str, float]:
        """Return queries, model_calls, invalid_docids, dead_beams, search_share and mask_share of the last search."""
        return told(self._counters)

    def training_summary(self) -> dict[str, float]:
        """Return train_tokens and tokens_per_s of the training, as far as there was one."""
        return self._summary.figures() if self._summary else {}

    def footprint(self) -> Footprint:
        """Count the trie and the docids as index, the weights as parameters."""
        backbone, trie, names = self._ready()
        return Footprint(trie.nbytes + text_bytes(names), backbone.parameter_bytes)

    def save(self, folder: Path) -> None:
        """Write a Hugging Face folder with the trie, the docids and the settings beside it."""
        backbone, trie, names = self._ready()
        backbone.save(folder)
        trie.save(folder / "trie")
        save_docids(folder, names)
        save_state(folder, NAME, {"seed": self.seed, "settings": self.settings.model_dump(mode="json")})

    @classmethod
    def load(cls, folder: Path) -> Dsi:
        """Load what `save` wrote, ready to search.

        Raises:
            RunFolderError, DataError: a file is absent or damaged.
            ConfigError: a setting that this version does not know.
        """
        state = load_state(folder, NAME)
        check_keys(state, ("settings", "seed"), folder / STATE, AGAIN)
        dsi = cls(validated(DsiSettings, state["settings"], str(folder)), state["seed"])
        backbone = load(str(folder), dsi.settings.dtype)
        dsi._parts = _Parts(backbone, TokenTrie.open(folder / "trie"), load_docids(folder))
        return dsi

    def _ready(self) -> _Parts:
        if self._parts is None:
            raise DataError("an indexed or loaded retriever", "an empty one", "call index or load first")
        return self._parts


def _prompts(backbone: Backbone, queries: Sequence[str], query_tokens: int) -> list[list[int]]:
    """Encode queries, cut after `query_tokens`, with the cue for an identifier behind them."""
    cue = backbone.encode([IDENTIFIER])[0]
    asked = backbone.encode([QUESTION.format(query=" ".join(query.split())) for query in queries])
    return [[*ids[:query_tokens], *cue] for ids in asked]


def _views(
    backbone: Backbone, pairs: Sequence[tuple[str, int]], sequences: Sequence[Sequence[int]], query_tokens: int
) -> list[Example]:
    """Turn (text, row) pairs into text -> *identifier*."""
    prompts = _prompts(backbone, [text for text, _ in pairs], query_tokens)
    return [
        join([Piece(prompt, False), Piece(sequences[row], True)])
        for prompt, (_, row) in zip(prompts, pairs, strict=True)
    ]


def _symbol_tokens(backbone: Backbone) -> list[int]:
    """Return the token of each letter of the identifiers' alphabet."""
    tokens = backbone.encode(list(docids.ALPHABET))
    for letter, ids in zip(docids.ALPHABET, tokens, strict=True):
        if len(ids) != 1:
            raise ConfigError(
                "a tokeniser that has a token for every digit and letter", f"{letter!r} = {ids}", "use another backbone"
            )
    return [ids[0] for ids in tokens]


def _vocabulary(sequences: Sequence[Sequence[int]]) -> np.ndarray:
    return np.unique([token for sequence in sequences for token in sequence])


DSI = System(
    name=NAME,
    family="generative",
    summary="a language model maps the query to a passage identifier (naive, semantic or random) under a trie",
    config=DsiSettings,
    build=Dsi,
    load=Dsi.load,
    of_search=OF_SEARCH,
)
