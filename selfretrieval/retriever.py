"""The Self-Retrieval system: memorise, write titles, write passages, judge them, combine the scores."""

from __future__ import annotations

import math
import random
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import NamedTuple

from harness.datasets.sampling import sample
from harness.errors import DataError, RunFolderError
from harness.jsonfile import check_keys, read_object, write_json
from harness.lm.backbone import Backbone, load
from harness.lm.dev import dev_search
from harness.lm.examples import Example, budget_of_passes, relevant_rows, spend_shares, supervised_pairs
from harness.lm.lattice import Lattice, require_lattice
from harness.lm.objective import refuse_longer
from harness.lm.pseudo_queries import NONE, PseudoQueries, write_pseudo_queries
from harness.lm.session import told
from harness.lm.training import TrainingSummary
from harness.lm.training import train as train_backbone
from harness.progress import SILENT, Progress
from harness.ranking import ranked
from harness.retriever import Footprint, System
from harness.types import Answer, Corpus, Hit, Query, Split
from harness.validation import searched_with, validated
from selfretrieval import prompts
from selfretrieval.answer import sources, write_answers
from selfretrieval.assess import Assessment, assess
from selfretrieval.evidence import Question, fit, telling
from selfretrieval.examples import Views, draw_negatives
from selfretrieval.generate import list_passages, untitled, write_passages, write_titles
from selfretrieval.judge import Judged, Verdict, combine, likeliest
from selfretrieval.likelihood import Reader
from selfretrieval.memory import Memory, later_sentences
from selfretrieval.prior import with_priors
from selfretrieval.settings import OF_SEARCH, OF_TRAINING_TOO, SelfRetrievalSettings

_VERSION = 3
_STATE = "self_retrieval.json"
_UNJUDGED = {"candidates": "written", "assessment": False, "likelihood": False, "ranking": "paper"}
"""Settings that rank by titles and passages alone."""
_TITLES_IN_TRAINING = 10
"""More titles than this, which only a judge can tell apart, cost minutes and hardly change a ranking without one."""


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
        self._training_folder: Path | None = None
        self._readers: tuple[_Parts, Reader] | None = None
        self._counters: dict[str, float] = {}

    def index(self, corpus: Corpus, train: Split, dev: Split, progress: Progress = SILENT) -> None:
        """Memorise `corpus` and learn from `train`; `dev` chooses weights of both kinds where settings ask for it."""
        settings = self.settings
        pseudo = write_pseudo_queries(
            settings.backbone,
            corpus,
            train,
            settings.pseudo_queries,
            dtype=settings.dtype,
            seed=self.seed,
            progress=progress,
            checkpoints=self._training_folder,
        )
        progress.phase("load backbone")
        backbone = load(settings.backbone)
        progress.phase("tokenise and build the trie")
        backbone, memory, examples = self.lessons(backbone, corpus, train, pseudo)
        parts = _Parts(backbone, memory, corpus)
        self._summary = train_backbone(
            backbone,
            examples,
            settings.training,
            seed=self.seed,
            progress=progress,
            checkpoints=self._training_folder,
            evaluate=dev_search(settings.training, dev, lambda: self._in_training(parts)),
        ).behind(pseudo.summary)
        backbone = backbone.astype(settings.dtype)
        memory = with_priors(backbone, memory, settings, progress)
        self._parts = _Parts(backbone, memory, corpus)
        if settings.ranking == "log-linear":
            self._calibrate(sample(dev, settings.calibration_queries), progress)

    def keep_training_in(self, folder: Path) -> None:
        """Let `index` keep in `folder` what an interrupted training goes on from; see `harness.retriever.Resumable`."""
        self._training_folder = folder

    def lessons(
        self, backbone: Backbone, corpus: Corpus, train: Split, pseudo: PseudoQueries = NONE
    ) -> tuple[Backbone, Memory, list[Example]]:
        """Return the backbone with its vocabulary, what it searches in, and what it is trained on, in order."""
        settings = self.settings
        memory = Memory.build(
            corpus,
            backbone,
            titles=settings.titles,
            lowercase=settings.lowercase,
            passage_tokens=settings.passage_tokens,
            any_sentence=settings.reach == "any sentence",
        )
        said = [answer for query in train.queries for answer in query.answers]
        said += [query.text for query in train.queries] if settings.likelihood else []
        backbone = backbone.restricted(memory.vocabulary(backbone, said) if settings.trim_vocabulary else None)
        views = Views(
            backbone,
            corpus,
            settings.titles,
            memory.cuts().tolist() if settings.prefix == "until unique" else None,
            _later_targets(memory, corpus),
            settings.lowercase,
            settings.query_tokens,
            settings.passage_tokens,
        )
        return backbone, memory, self._examples(views, train, pseudo)

    def _in_training(self, parts: _Parts) -> SelfRetriever:
        """Return a system that searches with the weights as they are in the middle of the training."""
        fewer = {"title_beams": min(self.settings.title_beams, _TITLES_IN_TRAINING)}
        judge = {} if self.settings.dev_assessment else _UNJUDGED | fewer
        other = SelfRetriever(self.settings.model_copy(update={"title_prior": 0.0, **judge}), self.seed)
        other._parts = parts._replace(backbone=parts.backbone.restricted(parts.backbone.vocabulary))
        return other

    def _calibrate(self, dev: Split, progress: Progress) -> None:
        """Fit the weights of the evidence on dev queries, as far as there are any."""
        progress.phase("calibrate", len(dev), "queries")
        questions, corpus = [], self._ready().corpus
        for query in dev.queries:
            judged = [j for j in self.explain([query.text])[0] if j.judged]
            gold = relevant_rows(dev, query.qid, corpus)
            questions.append(
                Question([j.evidence for j in judged], [bool(gold & {*j.candidate.items}) for j in judged])
            )
            progress.advance()
        weights = fit(questions, self.settings.weights)
        progress.record({"calibrated_on": len(telling(questions)), **weights.model_dump()})
        self.settings = self.settings.model_copy(update={"weights": weights})

    def _examples(self, views: Views, split: Split, pseudo: PseudoQueries) -> list[Example]:
        """Spend the token budget on the views, in the order the curriculum asks for."""
        settings, rng = self.settings, random.Random(self.seed)
        pairs = supervised_pairs(split, views.corpus)
        negatives: list[list[int]] = []
        if settings.assessment:  # whatever its share: what is drawn from `rng` below stands behind these draws
            relevant = {qid: relevant_rows(split, qid, views.corpus) for qid in split.qrels}
            negatives = draw_negatives(pairs, views.corpus, relevant, settings.negatives, rng)
        pools = self._pools(views, pairs, pseudo, negatives)
        drawn = spend_shares(pools, settings.shares.model_dump(), self._budget_tokens(pools), rng)
        first = drawn.pop("memorise", [])
        second = [e for examples in drawn.values() for e in examples]
        if settings.curriculum == "mixed":
            first, second = [], [*first, *second]
        rng.shuffle(second)
        return [*first, *second]

    def _pools(
        self,
        views: Views,
        pairs: Sequence[tuple[Query, int]],
        pseudo: PseudoQueries,
        negatives: Sequence[Sequence[int]],
    ) -> dict[str, list[Example]]:
        """Write the examples of each view that has a share and is switched on."""
        settings, shares = self.settings, self.settings.shares
        pools: dict[str, list[Example]] = {}
        if settings.indexing and (shares.memorise or shares.recall):
            pools["memorise"] = pools["recall"] = views.memorise(masked=settings.masked_sentences)
        if settings.indexing and shares.predicate:
            pools["predicate"] = views.predicate()
        if settings.titles and shares.title:
            pools["title"] = views.title(pairs)
        if shares.passage:
            pools["passage"] = views.passage(pairs)
        if settings.titles and shares.content:
            pools["content"] = views.content(pairs)
        if shares.pseudo:
            pools["pseudo"] = views.title(pseudo.pairs) if settings.titles else views.beginning(pseudo.pairs)
        if settings.likelihood and shares.likelihood:
            pools["likelihood"] = views.likelihood(pairs)
        if settings.assessment and shares.assess:
            pools["assess"] = views.assess(pairs, negatives)
        return pools

    def _budget_tokens(self, pools: Mapping[str, Sequence[Example]]) -> int:
        """Return the tokens to spend: fewer than asked for, where the judge's questions would be repeated too often."""
        settings, tokens = self.settings, self.settings.training.tokens
        if settings.likelihood_passes is None:
            return tokens
        enough = budget_of_passes(pools, settings.shares.model_dump(), "likelihood", settings.likelihood_passes)
        return tokens if enough >= tokens else math.ceil(enough)

    def search(self, queries: Sequence[str], k: int) -> list[list[Hit]]:
        """Answer each query with at most `k` hits: the candidates of its titles and all their copies."""
        corpus = self._ready().corpus
        found = self.explain(queries)
        return [ranked(self._hits(judged, corpus), k) for judged in found]

    def explain(self, queries: Sequence[str]) -> list[list[Judged]]:
        """Return every candidate of each query with all parts of its score, in no particular order."""
        found: list[list[Judged]] = [[] for _ in queries]
        for batch, _, judged in self._batches(queries):
            for index, mine in zip(batch, judged, strict=True):
                found[index] = mine
        return found

    def answer(self, queries: Sequence[str]) -> list[Answer]:
        """Go on behind the best passage of each query into an answer; see `selfretrieval.answer`."""
        settings, (_, memory, corpus) = self.settings, self._ready()
        answers = [Answer("", None, 0.0)] * len(queries)
        for batch, lattice, judged in self._batches(queries):
            best = [
                sources(ranked(self._hits(j, corpus)), j, corpus.row_of, settings.answer_candidates) for j in judged
            ]
            for index, one in zip(batch, write_answers(lattice, best, memory, settings.answer_tokens), strict=True):
                answers[index] = one
        return answers

    def _batches(self, queries: Sequence[str]) -> Iterator[tuple[list[int], Lattice, list[list[Judged]]]]:
        """Yield batches of queries by their positions, each with the candidates and the cache they stand in."""
        backbone = self._ready().backbone
        self._counters = {"queries": len(queries), "model_calls": 0, "invalid_docids": 0, "dead_beams": 0}
        asked = [ids[: self.settings.query_tokens] for ids in backbone.encode([prompts.question(q) for q in queries])]
        cue = backbone.encode([prompts.TITLE if self.settings.titles else prompts.PASSAGE])[0]
        self._refuse_longer(max((len(a) for a in asked), default=0) + len(cue))
        order = sorted(range(len(queries)), key=lambda i: len(asked[i]))
        for first in range(0, len(order), self.settings.query_batch):
            batch = order[first : first + self.settings.query_batch]
            inputs = [[*asked[i], *cue] for i in batch]
            lattice = require_lattice(backbone)
            yield batch, lattice, self._judge(lattice, inputs, [queries[i] for i in batch])
            lattice.work.count_into(self._counters)

    def _refuse_longer(self, prompt_tokens: int) -> None:
        """Refuse a prompt behind which the backbone cannot read what the trie holds: ConfigError.

        Where passages are judged, the longest of them is read; else no more than the trie is written.
        """
        backbone, memory, _ = self._ready()
        judged = self.settings.assessment or self.settings.likelihood
        written = memory.longest if judged else memory.trie.height
        refuse_longer(backbone, prompt_tokens + written, "a question with title and passage")

    def _judge(self, lattice: Lattice, inputs: Sequence[Sequence[int]], queries: Sequence[str]) -> list[list[Judged]]:
        """Run one batch of prompts through all stages; every stage goes on from the cache of the one before."""
        settings, memory = self.settings, self._ready().memory
        states, slots = lattice.prefill(inputs)
        titles = (
            write_titles(lattice, states, slots, memory, settings.title_beams, prior=settings.title_prior)
            if settings.titles
            else untitled(slots)
        )
        candidates = (
            list_passages(titles, memory, settings.judged)
            if settings.candidates == "all"
            else write_passages(lattice, states, titles, memory, settings.passage_beams)
        )
        # Where nothing judges, none ranks below the others for want of a judgement.
        chosen = likeliest(titles, candidates, settings.judged if settings.assessment or settings.likelihood else None)
        judged = set(chosen)
        verdicts: dict[int, Assessment] = {}
        asked: dict[int, float] = {}
        if settings.assessment:
            verdicts = dict(zip(chosen, assess(lattice, [candidates[i] for i in chosen], memory), strict=True))
        if settings.likelihood:
            found = self.reader().likelihoods([candidates[i] for i in chosen], queries, lattice.work)
            asked = dict(zip(chosen, found, strict=True))
        self._counters["invalid_docids"] += sum(not c.items for c in candidates)
        mine: list[list[Verdict]] = [[] for _ in inputs]
        for i, c in enumerate(candidates):
            mine[c.row].append(Verdict(c, i in judged, verdicts.get(i), asked.get(i, 0.0)))
        return [
            combine(settings, [t for t in titles if t.row == row], verdicts_of, memory.prior)
            for row, verdicts_of in enumerate(mine)
        ]

    def _hits(self, judged: Sequence[Judged], corpus: Corpus) -> list[Hit]:
        """Turn candidates into hits; a passage reached under several of its copies keeps its best score."""
        best: dict[int, float] = {}
        for j in judged:
            for row in j.candidate.items:
                best[row] = max(best.get(row, j.score), j.score)
        return [Hit(p.docid, value, p.title, p.text) for row, value in best.items() for p in [corpus[row]]]

    def with_beam_size(self, beam_size: int) -> SelfRetriever:
        """Return the same trained system with another beam of titles; weights, trie and passages are shared.

        The beam of passages under each title, where passages are written, stays `passage_beams`, but where no titles
        are written it is the only beam there is and takes `beam_size`.

        Raises:
            ConfigError: below 1.
        """
        return self.with_settings(**{"title_beams" if self.settings.titles else "passage_beams": beam_size})

    def with_settings(self, **changes: object) -> SelfRetriever:
        """Return the same trained system with other settings of its search; priors they ask for are computed now.

        Raises:
            ConfigError: a setting or value there is not, or a change of what it was trained or built with.
        """
        other = SelfRetriever(searched_with(self.settings, changes, OF_SEARCH), self.seed)
        other._parts, other._summary = self._parts, self._summary
        if self._parts is not None:
            memory = with_priors(self._parts.backbone, self._parts.memory, other.settings)
            if memory is not self._parts.memory:
                other._parts = self._parts._replace(memory=memory)
        return other

    def with_memory(self, memory: Memory) -> SelfRetriever:
        """Return the same trained system over another memory of the same corpus."""
        other = self.with_settings()
        other._parts = self._ready()._replace(memory=memory)
        return other

    def counters(self) -> Mapping[str, float]:
        """Return queries, model_calls, invalid_docids, dead_beams, search_share and mask_share of the last search."""
        return told(self._counters)

    def training_summary(self) -> dict[str, float]:
        """Return train_tokens and tokens_per_s of the training, as far as there was one."""
        return self._summary.figures() if self._summary else {}

    def footprint(self) -> Footprint:
        """Count trie, tokens and texts of the passages as index, weights as parameters, what was read as cache."""
        backbone, memory, corpus = self._ready()
        kept_bytes = self._readers[1].nbytes if self._readers else 0
        return Footprint(memory.nbytes + int(corpus.table.nbytes), backbone.parameter_bytes, kept_bytes)

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
            RunFolderError: the folder holds no model of this version, or a file is absent or damaged.
            ConfigError: a setting that this version does not know.
            DataError: the weights or the trie are damaged.
        """
        folder = Path(folder)
        state = read_object(folder / _STATE)
        if state.get("version") != _VERSION:
            raise RunFolderError(
                f"a Self-Retrieval model of version {_VERSION} in {folder}", str(state.get("version")), "train it again"
            )
        check_keys(state, ("settings", "seed"), folder / _STATE, "train it again")
        settings = validated(SelfRetrievalSettings, state["settings"], str(folder / _STATE))
        retriever = cls(settings, state["seed"])
        backbone = load(str(folder), retriever.settings.dtype)
        retriever._parts = _Parts(backbone, Memory.open(folder / "trie"), _opened(folder / "corpus.arrow"))
        return retriever

    @property
    def parts(self) -> _Parts:
        """Return the backbone, the memory and the corpus; DataError before there are any."""
        return self._ready()

    def reader(self) -> Reader:
        """Return what judges by likelihood; it keeps what it read as long as backbone and memory stay."""
        parts = self._ready()
        if self._readers is None or self._readers[0] is not parts:
            room_bytes = int(self.settings.passage_cache_gb * 2**30)
            self._readers = parts, Reader(parts.backbone, parts.memory, room_bytes, self.settings.query_tokens)
        return self._readers[1]

    def _ready(self) -> _Parts:
        if self._parts is None:
            raise DataError("an indexed or loaded retriever", "an empty one", "call index or load first")
        return self._parts


def _opened(path: Path) -> Corpus:
    """Map the passages of a saved model; RunFolderError where they are absent or damaged."""
    try:
        return Corpus.open(path)
    except (OSError, ValueError) as error:  # what pyarrow raises is one or the other
        raise RunFolderError(f"the passages in {path}", str(error), "train it again") from error


def _later_targets(memory: Memory, corpus: Corpus) -> dict[int, dict[str, list[int]]]:
    """For each row the sentences that may lead to it, besides its beginning, with what must be written of each."""
    cuts = memory.cuts()
    return {
        row: {
            sentence: memory.target(entry, int(cuts[entry]))
            for (sentence, _), entry in zip(later_sentences(corpus[row].text), entries, strict=True)
        }
        for row, entries in memory.later_entries.items()
    }


SELF_RETRIEVAL = System(
    name="self-retrieval",
    family="self-retrieval",
    summary="one language model memorises the corpus, writes title and passage under a trie, and judges its answer",
    config=SelfRetrievalSettings,
    build=SelfRetriever,
    load=SelfRetriever.load,
    of_search=OF_SEARCH - OF_TRAINING_TOO,
)
