"""The Self-Retrieval system: memorise, write titles, write passages, judge them, combine the scores."""

from __future__ import annotations

import random
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Literal, NamedTuple

from pydantic import BaseModel, ConfigDict, Field

from harness.errors import DataError, RunFolderError
from harness.jsonfile import read_object, write_json
from harness.lm.backbone import EMBEDDED, Backbone, load
from harness.lm.examples import Example, spend_shares, supervised_pairs
from harness.lm.lattice import require_lattice
from harness.lm.session import told
from harness.lm.training import TrainingSettings, TrainingSummary
from harness.lm.training import train as train_backbone
from harness.progress import SILENT, Progress
from harness.ranking import ranked
from harness.retriever import Footprint, System
from harness.types import Corpus, Hit, Split
from harness.validation import validated
from selfretrieval import prompts, score
from selfretrieval.assess import Assessment, assess
from selfretrieval.examples import Views, draw_negatives
from selfretrieval.generate import Candidate, Title, untitled, write_passages, write_titles
from selfretrieval.memory import Memory

_VERSION = 2
_STATE = "self_retrieval.json"


class Shares(BaseModel):
    """Share of the training tokens each view gets; the sum need not be 1."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    memorise: float = Field(0.55, ge=0)
    """Stage 1: every sentence leads to its title and passage."""
    recall: float = Field(0.10, ge=0)
    """Stage 2: memorisation again, mixed with the views below, so that it is not forgotten."""
    title: float = Field(0.10, ge=0)
    passage: float = Field(0.10, ge=0)
    content: float = Field(0.05, ge=0)
    assess: float = Field(0.10, ge=0)


class SelfRetrievalSettings(BaseModel):
    """Settings of Self-Retrieval; the three switches are the ablation of the paper's Table 4."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    backbone: str = EMBEDDED
    indexing: bool = True
    """Memorise the corpus; False leaves only the supervised views."""
    titles: bool = True
    """Write a title before the passage; False writes passages directly."""
    assessment: bool = True
    """Judge passages by self-assessment; False ranks titles alone, and by generation probability under a title."""
    title_beams: int = Field(5, ge=1)
    passage_beams: int = Field(10, ge=1)
    tau: float = Field(score.TAU, gt=0)
    delta: float = Field(score.DELTA, gt=0)
    softmax_per_title: bool = False
    """Take the passage softmax title by title, as the released scripts do."""
    assessment_score: Literal["mean", "first"] = "mean"
    """mean: exp of the mean token log-probability of the refusal (the paper). first: its first token alone."""
    negatives: int = Field(2, ge=0)
    """Negative passages for each supervised pair; the paper takes up to 5."""
    prefix: Literal["ten words", "until unique"] = "ten words"
    """What of a passage is learned by heart: its first ten words (the paper), or as many tokens as tell it from the
    others of its title (an addition: search needs no more, and the tokens buy more sentences)."""
    curriculum: Literal["staged", "mixed"] = "staged"
    """staged: all of stage 1, then stage 2 (the paper). mixed: all views in one random order (an addition)."""
    lowercase: bool = True
    """Lower-case titles and memorised sentences (the paper). False keeps their case: what a small backbone knows of
    "John Steinbeck" it does not know of "john steinbeck"."""
    masked_sentences: bool = False
    """Also memorise each sentence without the words of its title, which else can be copied (an addition)."""
    shares: Shares = Shares()
    training: TrainingSettings = TrainingSettings()
    trim_vocabulary: bool = True
    """Restrict the head to the tokens of the corpus and the prompts; probabilities are renormalised over these."""
    dtype: str = Field("auto", pattern="^(auto|float32|bfloat16)$")
    """Number type of the weights when searching and on disk."""
    query_batch: int = Field(8, ge=1)
    """Questions searched together."""
    query_tokens: int = Field(512, ge=8)
    """A longer question is cut after so many tokens."""
    passage_tokens: int = Field(512, ge=16)
    """A longer passage is cut after so many tokens."""


class Judged(NamedTuple):
    """One candidate and how its score came about: score = title_score * passage_score."""

    candidate: Candidate
    assessment: Assessment | None
    title_score: float
    passage_score: float


class _Parts(NamedTuple):
    """What a retriever searches with."""

    backbone: Backbone
    memory: Memory
    corpus: Corpus


class SelfRetriever:
    """One language model that memorises, writes and judges."""

    def __init__(self, settings: SelfRetrievalSettings | None = None, seed: int = 0) -> None:
        self.settings = settings or SelfRetrievalSettings()
        self.seed = seed
        self._parts: _Parts | None = None
        self._summary: TrainingSummary | None = None
        self._counters: dict[str, float] = {}

    def index(self, corpus: Corpus, train: Split, dev: Split, progress: Progress = SILENT) -> None:
        """Memorise `corpus` and learn from `train`; `dev` is not used."""
        progress.phase("load backbone")
        settings = self.settings
        backbone = load(settings.backbone)
        progress.phase("tokenise and build the trie")
        memory = Memory.build(
            corpus,
            backbone,
            titles=settings.titles,
            lowercase=settings.lowercase,
            passage_tokens=settings.passage_tokens,
        )
        answers = [answer for query in train.queries for answer in query.answers]
        backbone = backbone.restricted(memory.vocabulary(backbone, answers) if settings.trim_vocabulary else None)
        prefixes = memory.cuts().tolist() if settings.prefix == "until unique" else None
        views = Views(
            backbone,
            corpus,
            settings.titles,
            prefixes,
            settings.lowercase,
            settings.query_tokens,
            settings.passage_tokens,
        )
        examples = self._examples(views, train)
        self._summary = train_backbone(backbone, examples, settings.training, seed=self.seed, progress=progress)
        self._parts = _Parts(backbone.astype(settings.dtype), memory, corpus)

    def _examples(self, views: Views, split: Split) -> list[Example]:
        """Spend the token budget on the views, in the order the curriculum asks for."""
        settings, rng = self.settings, random.Random(self.seed)
        pairs = supervised_pairs(split, views.corpus)
        relevant = {
            qid: {views.corpus.row_of[d] for d, grade in grades.items() if grade >= 1}
            for qid, grades in split.qrels.items()
        }
        pools: dict[str, list[Example]] = {
            "memorise": views.memorise(masked=settings.masked_sentences) if settings.indexing else [],
            "title": views.title(pairs) if settings.titles else [],
            "passage": views.passage(pairs),
            "content": views.content(pairs) if settings.titles else [],
        }
        pools["recall"] = pools["memorise"]
        if settings.assessment:
            pools["assess"] = views.assess(
                pairs, draw_negatives(pairs, views.corpus, relevant, settings.negatives, rng)
            )
        drawn = spend_shares(pools, settings.shares.model_dump(), settings.training.tokens, rng)
        first = drawn.pop("memorise", [])
        second = [e for examples in drawn.values() for e in examples]
        if settings.curriculum == "mixed":
            first, second = [], [*first, *second]
        rng.shuffle(second)
        return [*first, *second]

    def search(self, queries: Sequence[str], k: int) -> list[list[Hit]]:
        """Answer each query with at most `k` hits: title_beams x passage_beams passages and all their copies."""
        corpus = self._ready().corpus
        found = self.explain(queries)
        return [ranked(self._hits(judged, corpus), k) for judged in found]

    def explain(self, queries: Sequence[str]) -> list[list[Judged]]:
        """Return every candidate of each query with all parts of its score, in no particular order."""
        backbone = self._ready().backbone
        self._counters = {"queries": len(queries), "model_calls": 0, "invalid_docids": 0, "dead_beams": 0}
        asked = backbone.encode([prompts.question(q) for q in queries])
        cue = backbone.encode([prompts.TITLE if self.settings.titles else prompts.PASSAGE])[0]
        order = sorted(range(len(queries)), key=lambda i: len(asked[i]))
        answers: list[list[Judged]] = [[] for _ in queries]
        for first in range(0, len(order), self.settings.query_batch):
            batch = order[first : first + self.settings.query_batch]
            inputs = [[*asked[i][: self.settings.query_tokens], *cue] for i in batch]
            for index, judged in zip(batch, self._answer(inputs), strict=True):
                answers[index] = judged
        return answers

    def _answer(self, inputs: Sequence[Sequence[int]]) -> list[list[Judged]]:
        """Run one batch of prompts through all stages; every stage goes on from the cache of the one before."""
        settings, (backbone, memory, _) = self.settings, self._ready()
        lattice = require_lattice(backbone)
        states, slots = lattice.prefill(inputs)
        titles = (
            write_titles(lattice, states, slots, memory, settings.title_beams)
            if settings.titles
            else untitled(states, slots)
        )
        candidates = write_passages(lattice, titles, memory, settings.passage_beams)
        verdicts: list[Assessment | None] = [None] * len(candidates)
        if settings.assessment:
            verdicts[:] = assess(lattice, candidates, memory)
        lattice.work.count_into(self._counters)
        self._counters["invalid_docids"] += sum(not c.items for c in candidates)
        return [
            self._judge(
                [t for t in titles if t.row == row],
                [(c, v) for c, v in zip(candidates, verdicts, strict=True) if c.row == row],
            )
            for row in range(len(inputs))
        ]

    def _judge(
        self, titles: Sequence[Title], candidates: Sequence[tuple[Candidate, Assessment | None]]
    ) -> list[Judged]:
        """Combine the scores of one question: S = S_T * S_P."""
        settings = self.settings
        title_scores = score.title_scores([t.score for t in titles], settings.tau)
        under = [c.title for c, _ in candidates]
        if settings.assessment:
            accepted = [1 - getattr(v, _PROBABILITY[settings.assessment_score]) for _, v in candidates]
            passage_scores = score.passage_scores(accepted, under, settings.delta, per_title=settings.softmax_per_title)
        else:
            passage_scores = score.generation_scores([c.score for c, _ in candidates], under)
        return [
            Judged(c, v, float(title_scores[c.title]), float(s))
            for (c, v), s in zip(candidates, passage_scores, strict=True)
        ]

    def _hits(self, judged: Sequence[Judged], corpus: Corpus) -> list[Hit]:
        """Turn candidates into hits; a passage reached under several of its copies keeps its best score."""
        best: dict[int, float] = {}
        for j in judged:
            for row in j.candidate.items:
                best[row] = max(best.get(row, 0.0), j.title_score * j.passage_score)
        return [Hit(p.docid, value, p.title, p.text) for row, value in best.items() for p in [corpus[row]]]

    def with_beam_size(self, beam_size: int) -> SelfRetriever:
        """Return the same trained system with another beam of titles; weights, trie and passages are shared.

        The beam of passages under each title stays `passage_beams`, but where no titles are written it is the only
        beam there is and takes `beam_size`.

        Raises:
            ConfigError: below 1.
        """
        return self.with_settings(**{"title_beams" if self.settings.titles else "passage_beams": beam_size})

    def with_settings(self, **changes: object) -> SelfRetriever:
        """Return the same trained system with other settings of its search.

        Raises:
            ConfigError: a setting or value there is not.
        """
        table = {**self.settings.model_dump(mode="json"), **changes}
        other = SelfRetriever(validated(SelfRetrievalSettings, table, "with_settings"), self.seed)
        other._parts, other._summary = self._parts, self._summary
        return other

    def counters(self) -> Mapping[str, float]:
        """Return queries, model_calls, invalid_docids, dead_beams, search_share and mask_share of the last search."""
        return told(self._counters)

    def training_summary(self) -> dict[str, float]:
        """Return train_tokens and tokens_per_s of the training, as far as there was one."""
        return self._summary.figures() if self._summary else {}

    def footprint(self) -> Footprint:
        """Count the trie with its passages' tokens and texts as index, the weights as parameters."""
        backbone, memory, corpus = self._ready()
        return Footprint(memory.nbytes + int(corpus.table.nbytes), backbone.parameter_bytes)

    def save(self, folder: Path) -> None:
        """Write a Hugging Face folder with the trie (`trie/`), the passages and the settings beside it."""
        backbone, memory, corpus = self._ready()
        backbone.save(folder)
        memory.save(folder / "trie")
        corpus.save(folder / "corpus.arrow")
        state = {"version": _VERSION, "seed": self.seed, "settings": self.settings.model_dump(mode="json")}
        write_json(folder / _STATE, state, "the settings of Self-Retrieval")

    @classmethod
    def load(cls, folder: str | Path) -> SelfRetriever:
        """Load what `save` wrote, ready to search.

        Raises:
            RunFolderError: the folder holds no model of this version.
        """
        folder = Path(folder)
        state = read_object(folder / _STATE)
        if state.get("version") != _VERSION:
            raise RunFolderError(
                f"a Self-Retrieval model of version {_VERSION} in {folder}", str(state.get("version")), "train it again"
            )
        retriever = cls(SelfRetrievalSettings.model_validate(state["settings"]), state["seed"])
        backbone = load(str(folder), retriever.settings.dtype)
        retriever._parts = _Parts(backbone, Memory.open(folder / "trie"), Corpus.open(folder / "corpus.arrow"))
        return retriever

    @property
    def parts(self) -> _Parts:
        """Return the backbone, the memory and the corpus; DataError before there are any."""
        return self._ready()

    def _ready(self) -> _Parts:
        if self._parts is None:
            raise DataError("an indexed or loaded retriever", "an empty one", "call index or load first")
        return self._parts


_PROBABILITY = {"mean": "p_reject", "first": "first_reject"}


SELF_RETRIEVAL = System(
    name="self-retrieval",
    family="self-retrieval",
    summary="one language model memorises the corpus, writes title and passage under a trie, and judges its answer",
    config=SelfRetrievalSettings,
    build=SelfRetriever,
    load=SelfRetriever.load,
)
