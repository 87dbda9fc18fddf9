"""Settings of Self-Retrieval: every default is the paper's way, except where a small backbone forbids it."""

from __future__ import annotations

from typing import ClassVar, Literal, Self

from pydantic import Field, model_validator

from harness.growing import GrowingSettings
from harness.lm.backbone import EMBEDDED
from harness.lm.pseudo_queries import PseudoQuerySettings
from harness.lm.training import TrainingSettings, refuse_trimmed
from selfretrieval import score
from selfretrieval.evidence import Weights

OF_SEARCH = frozenset(
    {
        "assessment",
        "title_beams",
        "passage_beams",
        "tau",
        "delta",
        "softmax_per_title",
        "assessment_score",
        "candidates",
        "title_prior",
        "prior",
        "likelihood",
        "passage_cache_gb",
        "judged",
        "ranking",
        "weights",
        "query_batch",
        "query_tokens",
        "answer_tokens",
        "answer_candidates",
    }
)
"""Settings that a trained system can be searched with anew; all others are in its weights, its trie or its tokens."""
OF_TRAINING_TOO = frozenset({"assessment", "likelihood", "prior", "title_prior", "query_tokens"})
"""Settings of the search that also decide what is trained on, or what is made beside the weights once and saved."""


class Shares(GrowingSettings):
    """Share of the training tokens each view gets; the sum need not be 1."""

    added: ClassVar[frozenset[str]] = frozenset({"pseudo"})

    memorise: float = Field(0.55, ge=0)
    """Stage 1: every sentence leads to its title and passage."""
    recall: float = Field(0.10, ge=0)
    """Stage 2: memorisation again, mixed with the views below, so that it is not forgotten."""
    predicate: float = Field(0.0, ge=0)
    """An addition: from what a first sentence says its subject is ("English mathematician") to title and passage."""
    title: float = Field(0.10, ge=0)
    """View a: a training query leads to the title of its passage."""
    passage: float = Field(0.10, ge=0)
    """View b: a training query leads through title and passage to the answer."""
    content: float = Field(0.05, ge=0)
    """View e: query and title are given, passage and answer written."""
    assess: float = Field(0.10, ge=0)
    """View d: query, title and passage are given; the answer follows, behind a negative passage the refusal."""
    likelihood: float = Field(0.0, ge=0)
    """An addition: from title and passage to the question, which `likelihood` asks for."""
    pseudo: float = Field(0.0, ge=0)
    """An addition: from a pseudo-query to the title of its passage, without titles to the passage; needs
    `pseudo_queries`."""


class SelfRetrievalSettings(GrowingSettings):
    """Settings of Self-Retrieval; the three switches are the ablation of the paper's Table 4."""

    added: ClassVar[frozenset[str]] = frozenset({"likelihood_passes", "pseudo_queries"})

    backbone: str = EMBEDDED
    """"embedded" (the packaged SmolLM2-135M-Instruct; "embedded#layers=10": its first ten layers), a folder, or the id
    of a model on the Hugging Face hub."""
    indexing: bool = True
    """Memorise the corpus; False leaves only the supervised views."""
    titles: bool = True
    """Write a title before the passage; False writes passages directly."""
    assessment: bool = True
    """Judge passages by self-assessment; False ranks titles alone, and by generation probability under a title."""
    title_beams: int = Field(5, ge=1)
    """Titles that are written for a question."""
    passage_beams: int = Field(10, ge=1)
    """Passages that are written for each title."""
    tau: float = Field(score.TAU, gt=0)
    """Temperature of the softmax over the titles' scores."""
    delta: float = Field(score.DELTA, gt=0)
    """Temperature of the softmax over what passages were assessed with."""
    softmax_per_title: bool = False
    """Take the passage softmax title by title, as the released scripts do."""
    assessment_score: Literal["mean", "first"] = "mean"
    """mean: exp of the mean token log-probability of the refusal (the paper). first: its first token alone."""
    negatives: int = Field(2, ge=0)
    """Negative passages for each supervised pair; the paper takes up to 5."""
    prefix: Literal["ten words", "until unique"] = "ten words"
    """What of a passage is learned by heart: its first ten words (the paper), or as many tokens as tell it from the
    others of its title (an addition: search needs no more, and the tokens buy more sentences)."""
    reach: Literal["beginning", "any sentence"] = "beginning"
    """How a passage may be written: from its beginning (the paper), or from any sentence of it that is memorised (an
    addition: the question may call up the sentence that answers it)."""
    candidates: Literal["written", "all"] = "written"
    """written: of each title the `passage_beams` passages most probably written (the paper). all: the passages of the
    best titles, title by title until there are `judged` (an addition: the title is written, the passage is found by
    judging alone)."""
    title_prior: float = Field(0.0, ge=0)
    """Rank titles by log P(title | question) less so many times log P(title | empty question): titles that training
    questions ask for are likely whatever is asked (an addition)."""
    prior: bool = False
    """Compute the probability of each passage without a question, for `weights.prior` (an addition)."""
    likelihood: bool = False
    """Judge passages by log P(question | title, passage) too, for `weights.likelihood` (an addition)."""
    likelihood_passes: float | None = Field(None, gt=0)
    """End the training, of all views, before the judge is shown its training questions more often than this, however
    many `training.tokens` are left (an addition: where there are few questions, it learns them by heart); null, or
    where `likelihood` teaches nothing: never."""
    passage_cache_gb: float = Field(2.0, ge=0)
    """Room, in GiB, for what the model made of passages it judged by likelihood, kept from one question to the next, in
    half precision."""
    judged: int | None = Field(None, ge=1)
    """Judge so many passages a question, those most probably written, and rank the others below them; null: all, as in
    the paper (fewer is an addition: reading passages is most of the time). Where none is written (`candidates`), no
    more than these are candidates at all."""
    ranking: Literal["paper", "log-linear"] = "paper"
    """paper: S = S_T * S_P. log-linear: the sum of `weights` times the evidence (an addition)."""
    weights: Weights = Weights()
    calibration_queries: int = Field(0, ge=0)
    """Dev queries on which the weights of a log-linear ranking are fitted after the training; 0: they stay as given."""
    curriculum: Literal["staged", "mixed"] = "staged"
    """staged: all of stage 1, then stage 2 (the paper). mixed: all views in one random order (an addition)."""
    lowercase: bool = True
    """Lower-case titles and memorised sentences (the paper). False keeps their case: what a small backbone knows of
    "John Steinbeck" it does not know of "john steinbeck"."""
    masked_sentences: bool = False
    """Also memorise each sentence without the words of its title, which else can be copied (an addition)."""
    shares: Shares = Shares()
    training: TrainingSettings = TrainingSettings()
    pseudo_queries: PseudoQuerySettings = PseudoQuerySettings()
    """Queries that the backbone writes for the passages before it is trained, for `shares.pseudo` (an addition)."""
    dev_assessment: bool = False
    """Where dev queries are searched while training: with all that ranks in the end, `weights` as given; False ranks
    written titles (ten at most) and passages alone, which is several times as fast."""
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
    answer_tokens: int = Field(32, ge=1)
    """Longest answer in words (Table 5)."""
    answer_candidates: int = Field(1, ge=1)
    """Passages tried for an answer that is not the refusal; the paper takes the best alone."""

    @model_validator(mode="after")
    def _has_what_it_learns_from(self) -> Self:
        self.pseudo_queries.check(self.shares.pseudo)
        refuse_trimmed(self.training, self.trim_vocabulary)
        return self

    @model_validator(mode="after")
    def _judges_what_is_not_written(self) -> Self:
        judges = self.assessment or (self.likelihood and self.ranking == "log-linear")
        if self.candidates == "all" and not (self.titles and judges):
            raise ValueError(
                'candidates = "all" needs titles, and assessment, or likelihood with ranking = "log-linear", to tell '
                "passages apart"
            )
        if self.candidates == "all" and self.ranking == "log-linear" and not self.weighs_what_judges():
            raise ValueError(
                'candidates = "all" needs a judge with a say: give weights.likelihood (with likelihood) or '
                "weights.acceptance (with assessment), or fit them on calibration_queries"
            )
        return self

    def weighs_what_judges(self) -> bool:
        """Say whether a log-linear ranking can tell apart passages that nobody wrote."""
        acceptance = self.assessment and self.weights.acceptance != 0
        likelihood = self.likelihood and self.weights.likelihood != 0
        return acceptance or likelihood or self.calibration_queries > 0
