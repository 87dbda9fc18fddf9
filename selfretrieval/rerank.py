"""Let Self-Retrieval judge what another system finds (Figure 3, Tang et al. 2024): an index beside the model.

Any registered system finds candidates; the language model of Self-Retrieval, trained as always, reads each of them
behind the question and says how probably it would not refuse to answer: the score is 1 - p_reject. A judge with
`ranking = "log-linear"` scores by its weights instead: of acceptance, and of how likely a passage makes the question
(an addition; Sachan et al. 2022 rerank so, untrained).
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from pydantic import BaseModel, ConfigDict, Field, ValidationInfo, field_validator, model_validator

from harness import registry
from harness.errors import DataError, RunFolderError
from harness.jsonfile import read_object, write_json
from harness.lm.lattice import require_lattice
from harness.lm.session import Work, told
from harness.progress import SILENT, Progress
from harness.ranking import ranked
from harness.retriever import Footprint, Resumable, System, with_tokens_of
from harness.types import Corpus, Hit, Passage, Split
from harness.validation import validated
from selfretrieval import prompts
from selfretrieval.assess import assess
from selfretrieval.evidence import Evidence, log_odds
from selfretrieval.generate import Candidate
from selfretrieval.judge import rejection
from selfretrieval.retriever import SelfRetriever
from selfretrieval.settings import SelfRetrievalSettings

NAME = "self-rerank"
FIRST, JUDGE = "first", "judge"
BEAM = "beam_size"
"""Setting of a system that searches with a beam (dsi): the most hits a query can have."""
_READ = Evidence(title=0.0, title_mean=0.0, passage=0.0, prior=0.0, acceptance=0.0, likelihood=0.0)
"""What speaks for a passage that nobody wrote, before it is judged."""
_VERSION = 1
_STATE = "self_rerank.json"


class SelfRerankSettings(BaseModel):
    """Settings of "self-rerank"."""

    model_config = ConfigDict(frozen=True, extra="forbid", use_attribute_docstrings=True)

    first: str = "bm25"
    """Registered system that finds the candidates: bm25, dense, dsi or any other that does not see the judgements."""
    first_settings: dict[str, Any] = Field({}, validate_default=True)
    """Settings of that system; the `beam_size` of one that has it is at least `depth` unless it is given."""
    depth: int = Field(100, ge=1)
    """Candidates that are read for each query, as in the paper; what is found below keeps its order below them."""
    judge: SelfRetrievalSettings = SelfRetrievalSettings()
    """How the language model is trained that reads them, and by what it ranks: its self-assessment, or with
    `ranking = "log-linear"` its `weights` of acceptance and likelihood. Nothing is written, so titles, beams, priors,
    the number `judged` and the other weights have no say."""

    @model_validator(mode="before")
    @classmethod
    def _beam_of_first(cls, given: Any) -> Any:
        """Let a first system that searches with a beam find `depth` candidates, unless its beam is given."""
        if not isinstance(given, Mapping) or not isinstance(given.get("first"), str):
            return given
        own, depth = given.get("first_settings", {}), given.get("depth", cls.model_fields["depth"].default)
        beam = registry.get(given["first"]).config.model_fields.get(BEAM)
        if beam is None or not isinstance(own, Mapping) or BEAM in own or not isinstance(depth, int):
            return given
        return {**given, "first_settings": {**own, BEAM: max(beam.default, depth)}}

    @field_validator("first_settings")
    @classmethod
    def _checked(cls, given: dict[str, Any], info: ValidationInfo) -> dict[str, Any]:
        """Let the first system check its settings and fill in its defaults; unknown names are refused here."""
        if "first" not in info.data:
            return given
        system = registry.get(info.data["first"])
        if system.sees_judgements:
            raise ValueError(f"a first system that does not see the judgements: not {system.name!r}")
        settings: BaseModel = validated(system.config, given, f"first_settings, for {system.name!r}")
        return settings.model_dump(mode="json")

    @field_validator("judge")
    @classmethod
    def _judges(cls, judge: SelfRetrievalSettings) -> SelfRetrievalSettings:
        """Refuse a judge that has no say here, or was never taught to refuse."""
        if judge.calibration_queries:
            raise ValueError("a judge with weights as given: calibration_queries fits them to what a judge has written")
        if not (judge.assessment if judge.ranking == "paper" else judge.weighs_what_judges()):
            raise ValueError(
                'a judge with a say: assessment = true with ranking = "paper"; with "log-linear" a weight for the '
                "acceptance (and assessment = true) or for the likelihood (and likelihood = true)"
            )
        if judge.assessment and judge.training.tokens and not (judge.shares.assess and judge.negatives):
            raise ValueError(
                "a judge that learns to refuse: shares.assess and negatives above 0, or no training.tokens"
            )
        return judge


class SelfJudge:
    """A `harness.retriever.Reranker`: a trained Self-Retrieval that scores passages of its corpus."""

    def __init__(self, retriever: SelfRetriever) -> None:
        self._retriever = retriever
        self.counters: dict[str, float] = {}

    def rerank(self, query: str, candidates: Sequence[Passage]) -> list[Hit]:
        """Score every candidate and return them best first; passages of one text get one score.

        Scores are 1 - p_reject, or with a log-linear ranking the weighted sum of acceptance and likelihood.

        Raises:
            DataError: a passage is not in the corpus the model was trained on.
        """
        texts = {(passage.title, passage.text): self._row(passage.docid) for passage in candidates}
        scores = dict(zip(texts, self._scores(query, list(texts.values())), strict=True))
        return ranked(Hit(p.docid, scores[p.title, p.text], p.title, p.text) for p in candidates)

    def _row(self, docid: str) -> int:
        row = self._retriever.parts.corpus.row_of.get(docid)
        if row is None:
            raise DataError("passages of the corpus the judge was trained on", repr(docid), "index this corpus first")
        return row

    def _scores(self, query: str, rows: Sequence[int]) -> list[float]:
        """Read passages, by their rows, and score them as the settings of the judge ask for."""
        settings, work = self._retriever.settings, Work()
        if not rows:
            return []
        paper, weights = settings.ranking == "paper", settings.weights
        rejected, likelihoods = [0.5] * len(rows), [0.0] * len(rows)
        if settings.assessment and (paper or weights.acceptance):
            rejected = self._rejected(query, rows, work)
        if settings.likelihood and weights.likelihood and not paper:
            likelihoods = self._retriever.reader().likelihoods([_unwritten(row) for row in rows], [query], work)
        work.count_into(self.counters)
        if paper:
            return [1.0 - p for p in rejected]
        read = [
            _READ._replace(acceptance=log_odds(p), likelihood=v) for p, v in zip(rejected, likelihoods, strict=True)
        ]
        return [evidence.score(weights) for evidence in read]

    def _rejected(self, query: str, rows: Sequence[int], work: Work) -> list[float]:
        """Ask whether each passage will not do: one pass for the question, then all passages together behind it."""
        settings, (backbone, memory, _) = self._retriever.settings, self._retriever.parts
        asked, cue = backbone.encode([prompts.question(query), prompts.TITLE if settings.titles else prompts.PASSAGE])
        lattice = require_lattice(backbone)
        _, slots = lattice.prefill([[*asked[: settings.query_tokens], *cue]])
        verdicts = assess(lattice, [_unwritten(row, int(slots[0])) for row in rows], memory)
        work.add(lattice.work)
        return [rejection(verdict, settings) for verdict in verdicts]


def _unwritten(row: int, slot: int = 0) -> Candidate:
    """Return a passage that nobody wrote as a candidate of the only question, to be read behind `slot`."""
    return Candidate(0, 0, (row,), slot, 0, 0.0, 0.0, row)


class SelfRerank:
    """A first system and Self-Retrieval's judgement behind it."""

    def __init__(self, settings: SelfRerankSettings | None = None, seed: int = 0) -> None:
        self.settings = settings or SelfRerankSettings()
        self.seed = seed
        system = registry.get(self.settings.first)
        self._first = system.build(system.config.model_validate(self.settings.first_settings), seed)
        self._model = SelfRetriever(self.settings.judge, seed)
        self._judge = SelfJudge(self._model)

    def index(self, corpus: Corpus, train: Split, dev: Split, progress: Progress = SILENT) -> None:
        """Index the first system, then train the language model that reads what it finds."""
        self._first.index(corpus, train, dev, progress)
        self._model.index(corpus, train, dev, progress)

    def keep_training_in(self, folder: Path) -> None:
        """Let `index` keep in `folder` what interrupted trainings go on from; see `harness.retriever.Resumable`."""
        if isinstance(self._first, Resumable):
            self._first.keep_training_in(folder / FIRST)
        self._model.keep_training_in(folder / JUDGE)

    def search(self, queries: Sequence[str], k: int) -> list[list[Hit]]:
        """Reread the first `depth` hits and return the `k` best.

        Scores of what was read are those of `SelfJudge.rerank`; what was not comes below, in the first system's order.
        """
        corpus, depth = self._model.parts.corpus, self.settings.depth
        self._judge.counters = {"queries": len(queries), "model_calls": 0}
        lists = []
        for query, hits in zip(queries, self._first.search(queries, max(k, depth)), strict=True):
            read = [corpus[corpus.row_of[hit.docid]] for hit in hits[:depth]]
            judged = self._judge.rerank(query, read)
            least = min((hit.score for hit in judged), default=0.0)
            rest = [Hit(hit.docid, min(least, 0.0) - place) for place, hit in enumerate(hits[depth:], start=1)]
            lists.append([*judged, *rest][:k])
        return lists

    def counters(self) -> Mapping[str, float]:
        """Return queries, model_calls and the shares of time of the last search's reading."""
        return told(self._judge.counters)

    def training_summary(self) -> dict[str, float]:
        """Return train_tokens of both trainings together and tokens_per_s of the judge's, as far as there were any."""
        return with_tokens_of(self._first, self._model.training_summary())

    def footprint(self) -> Footprint:
        """Count both stages."""
        return self._first.footprint() + self._model.footprint()

    def save(self, folder: Path) -> None:
        """Write both stages into folders of their own, and the settings beside them."""
        for name, stage in ((FIRST, self._first), (JUDGE, self._model)):
            (folder / name).mkdir()
            stage.save(folder / name)
        state = {"version": _VERSION, "seed": self.seed, "settings": self.settings.model_dump(mode="json")}
        write_json(folder / _STATE, state, "the settings of self-rerank")

    @classmethod
    def load(cls, folder: Path) -> SelfRerank:
        """Load what `save` wrote, ready to search.

        Raises:
            RunFolderError: the folder holds no model of this version.
            ConfigError: the first system is not registered here.
        """
        state = read_object(folder / _STATE)
        if state.get("version") != _VERSION:
            got = str(state.get("version"))
            raise RunFolderError(f"a self-rerank model of version {_VERSION} in {folder}", got, "train it again")
        reranker = cls(validated(SelfRerankSettings, state["settings"], str(folder)), int(state["seed"]))
        reranker._first = registry.get(reranker.settings.first).load(folder / FIRST)
        reranker._model = SelfRetriever.load(folder / JUDGE)
        reranker._judge = SelfJudge(reranker._model)
        return reranker


SELF_RERANK = System(
    name=NAME,
    family="rerank",
    summary="another system (bm25, dense, dsi) finds 100 candidates, Self-Retrieval's own judge reranks them",
    config=SelfRerankSettings,
    build=SelfRerank,
    load=SelfRerank.load,
)
