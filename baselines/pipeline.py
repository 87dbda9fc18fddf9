"""Search and rerank: BM25, a dense retriever or DSI finds candidates, a cross-encoder looks at each of them again.

The order of the candidates follows a blend of both scores, each laid onto 0..1 over the candidates of the query,

    score = (1 - w) first + w cross

because a cross-encoder of few training pairs sees what the first stage does not, and the other way round (Wang et
al., "BERT-based Dense Retrievers Require Interpolation with BM25 for Effective Passage Retrieval", ICTIR 2021).
Epoch and w are chosen together on the dev queries; w = 0, the first stage as it is, is among the choices.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any, Literal

from pydantic import BaseModel, ConfigDict, Field, SerializerFunctionWrapHandler, model_serializer, model_validator

from baselines.bm25 import Bm25s, Bm25Settings
from baselines.dense import Dense, DenseSettings
from baselines.dsi import Dsi, DsiSettings
from baselines.encoder import EMBEDDED
from baselines.fitting import FitSettings, Judge, fit, reciprocal_rank
from baselines.negatives import mined, shuffled
from baselines.rerank import CrossEncoder
from baselines.saved import load_state, reading, save_state, save_table
from harness.datasets.sampling import sample
from harness.errors import DataError
from harness.jsonfile import require
from harness.lm.training import TrainingSummary
from harness.progress import SILENT, Progress
from harness.ranking import ranked
from harness.retriever import Footprint, Reranker, Resumable, Retriever, System, with_tokens_of
from harness.types import Corpus, Hit, Split
from harness.validation import validated

NAME = "rerank"
FIRST = "first"
CROSS_ENCODER = "cross-encoder"
PASSAGES = "passages.arrow"
WEIGHTS = (0.0, 0.25, 0.5, 0.75, 1.0)
"""Weights of the cross-encoder that are tried on dev; without dev queries it is the middle one."""
JUDGED_TO = 10
"""Hits that count for each dev query."""


class CrossFitSettings(FitSettings):
    """How a cross-encoder is trained: its head is new, so it takes more and longer steps than an encoder does.

    One that was taught before (`model`) wants a smaller `learning_rate`, about 2e-5; where it does worse than untrained
    on dev, it is left as it came.
    """

    batch_size: int = Field(default=8, ge=1)
    """Pairs a step."""
    learning_rate: float = Field(default=4e-4, gt=0)
    """Peak of a cosine schedule with linear warm-up (AdamW)."""


class RerankSettings(BaseModel):
    """Settings of "rerank"."""

    model_config = ConfigDict(frozen=True, extra="forbid", use_attribute_docstrings=True)

    first: Literal["bm25", "dense", "dsi"] = "bm25"
    """What finds the candidates."""
    bm25: Bm25Settings = Bm25Settings()
    """Settings of the first stage if it is bm25."""
    dense: DenseSettings = DenseSettings()
    """Settings of the first stage if it is dense."""
    dsi: DsiSettings = DsiSettings()
    """Settings of the first stage if it is dsi; its `beam_size` is at least `depth` and `mine_depth` unless it is
    given."""
    depth: int = Field(default=50, ge=1)
    """Candidates the cross-encoder reads for each query; what is found below keeps its order below them."""
    model: str = EMBEDDED
    """"embedded" (all-MiniLM-L6-v2, which has yet to learn to read pairs), a folder, or the id of a cross-encoder on
    the Hugging Face hub."""
    title_separator: str = ". "
    """Between a passage's title and its text."""
    weight: float | None = Field(default=None, ge=0, le=1)
    """Share of the cross-encoder in the score; 1: the first stage only finds the candidates; none: chosen on dev."""
    hard_negatives: int = Field(default=3, ge=1)
    """Wrong passages a training pair, the first stage's highest."""
    mine_depth: int = Field(default=50, ge=1)
    """Hits of the first stage among which they are looked for."""
    dev_queries: int = Field(default=100, ge=0)
    """Dev queries, chosen by hash, that every epoch is judged on; 0: the last epoch is kept."""
    dev_depth: int = Field(default=20, ge=1)
    """Candidates reranked for each of them, if fewer than `depth`."""
    batch_size: int = Field(default=32, ge=1)
    """Pairs read together when searching."""
    training: CrossFitSettings = CrossFitSettings()

    @model_validator(mode="before")
    @classmethod
    def _beam_of_dsi(cls, given: Any) -> Any:
        """Let dsi find as many candidates as are read or mined: a narrower beam would give fewer in silence."""
        if not isinstance(given, Mapping) or given.get("first") != "dsi":
            return given
        own = given.get("dsi", {})
        own = own.model_dump(exclude_unset=True) if isinstance(own, DsiSettings) else own
        asked = [given.get(name, cls.model_fields[name].default) for name in ("depth", "mine_depth")]
        if not isinstance(own, Mapping) or "beam_size" in own or not all(isinstance(n, int) for n in asked):
            return given  # given on purpose, or wrong, which is told by what checks each of them
        return {**given, "dsi": {**own, "beam_size": max(DsiSettings().beam_size, *asked)}}

    @model_serializer(mode="wrap")
    def _as_used(self, handler: SerializerFunctionWrapHandler) -> dict[str, Any]:
        # A cell's fingerprint covers this table; those from before there was `dsi` stay what they are.
        return {key: value for key, value in handler(self).items() if key != "dsi" or self.first == "dsi"}


class Pipeline:
    """A first stage and a cross-encoder behind it."""

    def __init__(self, settings: RerankSettings, seed: int) -> None:
        self._settings = settings
        self._seed = seed
        self._first = _first(settings, seed)
        self._weight = 0.0
        self._corpus: Corpus | None = None
        self._cross: CrossEncoder | None = None
        self._summary: TrainingSummary | None = None

    def index(self, corpus: Corpus, train: Split, dev: Split, progress: Progress = SILENT) -> None:
        """Index the first stage, mine its mistakes, train the cross-encoder on them, choose on `dev`.

        Without training pairs the embedded model learns nothing, and the first stage's order stays.

        Raises:
            ConfigError, DataError, OfflineError, DependencyError: a model cannot be had.
        """
        settings = self._settings
        self._corpus = corpus
        self._first.index(corpus, train, dev, progress)
        cross = self._cross = self._opened(settings.model)
        lessons = mined(
            sample(train, settings.training.queries),
            corpus,
            self._first.search,
            count=settings.hard_negatives,
            depth=settings.mine_depth,
            progress=progress,
        )
        chosen: dict[int, float] = {}
        fitted = fit(
            cross.model,
            [lesson for lesson in lessons if lesson.negatives],
            cross.listwise(corpus, settings.training.max_length),
            shuffled,
            settings.training,
            seed=self._seed,
            judge=self._judge(cross, corpus, sample(dev, settings.dev_queries), chosen),
            progress=progress,
        )
        self._summary = fitted.summary
        choices = self._choices(cross, fitted.kept)
        self._weight = chosen.get(fitted.kept, choices[len(choices) // 2])
        progress.record({"epoch": fitted.kept, "tokens": fitted.summary.tokens, "weight": self._weight})

    def _opened(self, model: str) -> CrossEncoder:
        settings = self._settings
        return CrossEncoder(model, self._seed, title_separator=settings.title_separator, batch_size=settings.batch_size)

    def _choices(self, cross: CrossEncoder, epoch: int) -> tuple[float, ...]:
        """List the weights that come into question after an epoch; a head that has learnt nothing gets none."""
        if epoch == 0 and cross.untaught:
            return (0.0,)
        return WEIGHTS if self._settings.weight is None else (self._settings.weight,)

    def _judge(self, cross: CrossEncoder, corpus: Corpus, dev: Split, chosen: dict[int, float]) -> Judge | None:
        """Make the judge of an epoch, which also notes the weight that did best, of equals the smallest."""
        if not dev.queries:
            return None
        queries = [query.text for query in dev.queries]
        depth = min(self._settings.depth, self._settings.dev_depth)
        found = self._first.search(queries, max(depth, JUDGED_TO))

        def judge(epoch: int) -> float:
            choices = self._choices(cross, epoch)
            read = depth if any(choices) else 0
            scores = [scored(cross, query, hits[:read], corpus) for query, hits in zip(queries, found, strict=True)]
            values = {
                weight: reciprocal_rank(
                    [blended(hits, some, weight) for hits, some in zip(found, scores, strict=True)], dev
                )
                for weight in choices
            }
            chosen[epoch] = max(values, key=lambda weight: values[weight])
            return values[chosen[epoch]]

        return judge

    def keep_training_in(self, folder: Path) -> None:
        """Let the first stage go on from where it was stopped, if it can; the cross-encoder is trained in minutes."""
        if isinstance(self._first, Resumable):
            self._first.keep_training_in(folder / FIRST)

    def search(self, queries: Sequence[str], k: int) -> list[list[Hit]]:
        """Rerank the first stage's `depth` hits and return the `k` best.

        Scores are comparable within a query: 0 to 1 for what was reranked, below 0 for what was not. With weight 0
        they are the first stage's own.
        """
        cross, corpus = self._ready()
        if not self._weight:
            return self._first.search(queries, k)
        depth = self._settings.depth
        found = self._first.search(queries, max(k, depth))
        return [
            blended(hits, scored(cross, query, hits[:depth], corpus), self._weight)[:k]
            for query, hits in zip(queries, found, strict=True)
        ]

    def training_summary(self) -> dict[str, float]:
        """Return train_tokens of both stages together and tokens_per_s of the last, as far as there were any."""
        own = self._summary.figures() if self._summary else {}
        return with_tokens_of(self._first, own)

    def footprint(self) -> Footprint:
        """Count the first stage and the passages' texts as index; the weights of both stages."""
        cross, corpus = self._ready()
        return self._first.footprint() + Footprint(int(corpus.table.nbytes), cross.parameter_bytes)

    def save(self, folder: Path) -> None:
        """Write the first stage, the cross-encoder, the passages and the settings.

        Raises:
            StorageError: the file system refused.
        """
        cross, corpus = self._ready()
        state = {"settings": self._settings.model_dump(), "seed": self._seed, "weight": self._weight}
        save_state(folder, NAME, state)
        save_table(folder / PASSAGES, corpus.table)
        for part in (FIRST, CROSS_ENCODER):
            (folder / part).mkdir()
        self._first.save(folder / FIRST)
        cross.save(folder / CROSS_ENCODER)

    @classmethod
    def load(cls, folder: Path) -> Pipeline:
        """Read what `save` wrote; passages stay on disk, memory-mapped. No hub is asked for the cross-encoder.

        Raises:
            RunFolderError, DataError: a file is absent or damaged.
            ConfigError, OfflineError, DependencyError: the encoder of a dense first stage cannot be had.
        """
        state = load_state(folder, NAME)
        pipeline = cls(validated(RerankSettings, state["settings"], str(folder)), int(state["seed"]))
        pipeline._weight = float(state["weight"])
        pipeline._first = _LOADED[pipeline._settings.first](folder / FIRST)
        require(folder / CROSS_ENCODER / "config.json")
        pipeline._cross = pipeline._opened(str(folder / CROSS_ENCODER))
        with reading(folder, "the passages"):
            pipeline._corpus = Corpus.open(folder / PASSAGES)
        return pipeline

    def _ready(self) -> tuple[CrossEncoder, Corpus]:
        if self._cross is None or self._corpus is None:
            raise DataError("an indexed or loaded retriever", "an empty one", "call index or load first")
        return self._cross, self._corpus


def _first(settings: RerankSettings, seed: int) -> Retriever:
    if settings.first == "dsi":
        return Dsi(settings.dsi, seed)
    return Bm25s(settings.bm25) if settings.first == "bm25" else Dense(settings.dense, seed)


_LOADED: Mapping[str, Callable[[Path], Retriever]] = {"bm25": Bm25s.load, "dense": Dense.load, "dsi": Dsi.load}


def scored(reranker: Reranker, query: str, candidates: Sequence[Hit], corpus: Corpus) -> dict[str, float]:
    """Let a reranker read the candidates of a query; docid -> its score."""
    passages = [corpus[corpus.row_of[hit.docid]] for hit in candidates]
    return {hit.docid: hit.score for hit in reranker.rerank(query, passages)} if passages else {}


def blended(hits: Sequence[Hit], cross: Mapping[str, float], weight: float) -> list[Hit]:
    """Order hits by a blend of two scores; those the cross-encoder has not read keep their order below.

    Args:
        hits: the first stage's, best first.
        cross: docid -> score of the cross-encoder, for the first of the hits.
        weight: of the cross-encoder, 0 to 1; at 0 the hits come back as they are.

    >>> blended([Hit("a", 9.0), Hit("b", 8.0), Hit("c", 7.0)], {"a": -2.0, "b": 3.0}, 0.75)
    [Hit(docid='b', score=0.75, title='', text=''), Hit(docid='a', score=0.25, title='', text=''), \
Hit(docid='c', score=-1.0, title='', text='')]
    """
    if not weight:
        return list(hits)
    read = hits[: len(cross)]
    first, second = _unit({hit.docid: hit.score for hit in read}), _unit(cross)
    best = ranked(Hit(docid, (1 - weight) * first[docid] + weight * second[docid]) for docid in first)
    return best + [Hit(hit.docid, -float(place)) for place, hit in enumerate(hits[len(cross) :], start=1)]


def _unit(scores: Mapping[str, float]) -> dict[str, float]:
    """Lay scores onto 0..1; equal ones onto 0."""
    low, high = min(scores.values(), default=0.0), max(scores.values(), default=0.0)
    return {docid: (score - low) / (high - low) if high > low else 0.0 for docid, score in scores.items()}


RERANK = System(
    name=NAME,
    family="rerank",
    summary="BM25 (or dense, dsi) finds 50 candidates, a cross-encoder trained on its mistakes reranks them",
    config=RerankSettings,
    build=Pipeline,
    load=Pipeline.load,
)
