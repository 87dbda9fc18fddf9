"""How fast a whole retrieval is: one cache for titles, passages and assessment against three passes that read again."""

from __future__ import annotations

import random
import statistics
import time
from collections.abc import Sequence
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any, NamedTuple, TypedDict

import numpy as np

from harness.bench import decode as engine
from harness.bench import exhaustive
from harness.bench import train as engine_training
from harness.bench.decode import Task
from harness.bench.pairs import in_turn, median_speedup
from harness.bench.reference import TOLERANCE
from harness.datasets import load as load_dataset
from harness.datasets.settings import DatasetSettings
from harness.experiment import load as load_experiment
from harness.lm.backbone import EMBEDDED, Backbone, load
from harness.lm.examples import spend, supervised_pairs
from harness.lm.lattice import require_lattice
from harness.lm.session import Clock
from harness.lm.training import TrainingSettings, train
from harness.progress import SILENT, Progress
from harness.types import Corpus, Dataset, Split
from selfretrieval import prompts
from selfretrieval.examples import Views
from selfretrieval.generate import write_titles
from selfretrieval.judge import Judged
from selfretrieval.memory import Memory
from selfretrieval.released import Found, Released
from selfretrieval.retriever import SelfRetriever
from selfretrieval.settings import SelfRetrievalSettings


class Whole(TypedDict):
    """One corpus. released_ms, single_ms: median milliseconds a query. batch_ms: a query's share of one batch.

    single_speedup: median over pairs; batch_speedup: released_ms over batch_ms. unjudged_speedup: median over pairs of
    single queries, titles and passages alone. assessment_share: of our time for a single query. candidates: passages
    judged a query.
    equal: of `queries`, those whose titles and refusal probabilities are the same. common_passages: share of the other
    way's passages that ours found, 0..1.
    """

    corpus: str
    released_ms: float
    single_ms: float
    batch_ms: float
    batch_size: int
    single_speedup: float
    batch_speedup: float
    unjudged_speedup: float
    assessment_share: float
    candidates: float
    equal: int
    common_passages: float
    queries: int


class Options(NamedTuple):
    """What `harness bench decode` compares.

    model: see `harness.lm.backbone.load`. titles: dataset whose titles are decoded. passages: dataset whose passages
    are decoded and which is searched as a whole. beam_size: beams. singles: queries asked alone. batch_size: queries
    asked together. rounds: batches timed. train_tokens: tokens of query -> title examples the model reads beforehand,
    so that it writes titles as a decoder in use does; 0 leaves it as it comes.
    """

    model: str = EMBEDDED
    titles: str = "vital-articles/10k"
    passages: str = "vital-articles/1k"
    beam_size: int = 5
    singles: int = 12
    batch_size: int = 32
    rounds: int = 3
    train_tokens: int = 20_000


_PASSAGE_WORDS = 60
"""Words of a passage of the embedded articles, as in `quick`; passages of other sets stay as they are."""


def decode(options: Options, progress: Progress = SILENT) -> dict[str, Any]:
    """Run every comparison of constrained decoding and return the figures of `harness bench decode --json`.

    Raises:
        UnknownNameError, DataError, OfflineError: a dataset or model that is not here.
    """
    progress.phase("load data and model")
    sets = [_load(name) for name in (options.titles, options.passages)]
    with TemporaryDirectory() as folder:
        model = options.model
        if options.train_tokens:
            model = folder
            _taught(load(options.model, "float32").restricted(None), sets[0], options.train_tokens, progress).save(
                Path(folder)
            )
        return _compare(options, sets, model, progress)


def _taught(backbone: Backbone, data: Dataset, tokens: int, progress: Progress) -> Backbone:
    """Train query -> title on a dataset, with the settings any generative system starts from."""
    views = Views(backbone, data.corpus, lowercase=False)
    pool = views.title(supervised_pairs(data.train, data.corpus))
    examples = spend(pool, tokens, random.Random(0))
    train(backbone, examples, TrainingSettings(tokens=tokens), seed=0, progress=progress)
    return backbone.astype("float32")


def training(tokens: int, rounds: int, progress: Progress = SILENT) -> dict[str, Any]:
    """Compare ways of training on the examples `quick` trains Self-Retrieval on; see `harness.bench.train`.

    Args:
        tokens: of the examples each way is trained on, each round.
        rounds: how often.
        progress: told about each process.

    Raises:
        DependencyError: the embedded model or articles are not installed.
        ConfigError: too few tokens.
    """
    progress.phase("load data and model")
    quick = load_experiment("quick")
    (name,) = quick.datasets
    table = quick.systems["self-retrieval"].settings()
    settings = SelfRetrievalSettings.model_validate({**table, "training": {**table["training"], "tokens": tokens}})
    data = load_dataset(name, quick.datasets[name])
    _, _, examples = SelfRetriever(settings).lessons(load(settings.backbone, "float32"), data.corpus, data.train)
    task = engine_training.Task(settings.backbone, examples, settings.training)
    return {**engine_training.run(task, rounds, progress), "tokens": tokens, "dataset": name}


def _compare(options: Options, sets: Sequence[Dataset], model: str, progress: Progress) -> dict[str, Any]:
    backbone = load(model, "float32").restricted(None)
    tasks = [
        make(data.name, data.corpus, [query.text for query in data.test.queries], backbone)
        for make, data in zip((title_task, passage_task), sets, strict=True)
    ]
    found = engine.run(
        backbone,
        tasks,
        beam_size=options.beam_size,
        singles=options.singles,
        batch_size=options.batch_size,
        rounds=options.rounds,
        progress=progress,
    )
    exact = exhaustive.run(backbone, tasks[0], beam_size=options.beam_size, progress=progress)
    questions = [query.text for query in sets[1].test.queries]
    whole = run(sets[1].name, sets[1].corpus, questions, model, batch_size=options.batch_size, progress=progress)
    figures = engine.summarise(found)
    figures["batch"]["speedup_vs_released"] = whole["batch_speedup"]
    figures["single"]["speedup_vs_released"] = whole["single_speedup"]
    figures["equal_hypotheses"] &= whole["equal"] == whole["queries"]
    return {**figures, "whole": [whole], "exhaustive": exact, "options": options._asdict()}


def _load(name: str) -> Dataset:
    embedded = name.startswith("vital-articles")
    return load_dataset(name, DatasetSettings(max_passage_words=_PASSAGE_WORDS) if embedded else DatasetSettings())


def title_task(name: str, corpus: Corpus, queries: Sequence[str], backbone: Backbone) -> Task:
    """Decode the titles of a corpus from its queries, as Self-Retrieval asks for them."""
    titles = sorted({prompts.title_of(p.title, p.text, lowercase=False) for p in corpus})
    sequences = [[*ids, backbone.end] for ids in backbone.encode_after(prompts.TITLE, titles)]
    asked = backbone.encode([prompts.question(q) + prompts.TITLE for q in queries])
    return Task(f"titles of {name}", sequences, asked, backbone.end)


def passage_task(name: str, corpus: Corpus, queries: Sequence[str], backbone: Backbone) -> Task:
    """Decode the passages of a corpus straight from its queries, each until it is unique."""
    memory = Memory.build(corpus, backbone, titles=False)
    cuts = memory.cuts().tolist()
    prefixes = {tuple(memory.sequences[row][:cut].tolist()) for row, cut in enumerate(cuts)}
    sequences = sorted([*prefix, backbone.end] if prefix[-1] != backbone.end else [*prefix] for prefix in prefixes)
    asked = backbone.encode([prompts.question(q) + prompts.PASSAGE for q in queries])
    return Task(f"passages of {name}", sequences, asked, backbone.end)


def run(
    name: str,
    corpus: Corpus,
    queries: Sequence[str],
    backbone: str,
    *,
    singles: int = 4,
    batch_size: int = 32,
    progress: Progress = SILENT,
    clock: Clock = time.perf_counter,
) -> Whole:
    """Ask the first questions in the released way and in ours, in turn, and then a batch in ours.

    Args:
        name: of the corpus.
        corpus: what is searched.
        queries: at least one; taken again from the front where there are too few.
        backbone: see `harness.lm.backbone.load`; not trained, which changes no amount of work.
        singles: questions asked alone, both ways.
        batch_size: questions asked together.
        progress: told about each question.
        clock: seconds.
    """
    retriever = _untrained(corpus, backbone, batch_size)
    unjudged = retriever.with_settings(assessment=False)
    rules = retriever.settings
    released = Released(*retriever.parts[:2], title_beams=rules.title_beams, passage_beams=rules.passage_beams)
    progress.phase("whole retrieval", 2 * singles + 1, "measurements")
    asked = [queries[i % len(queries)] for i in range(max(singles, batch_size))]
    retriever.explain(asked[:1])  # warm-up: weights are packed once

    def theirs(i: int, assessment: bool = True) -> list[Found]:
        progress.advance()
        return released.search(asked[i], assessment=assessment)

    pairs, found, judged = in_turn(theirs, lambda i: retriever.explain([asked[i]])[0], singles, clock)
    fewer, _, _ = in_turn(lambda i: theirs(i, False), lambda i: unjudged.explain([asked[i]]), singles, clock)
    start = clock()
    retriever.explain(asked[:batch_size])
    batch_s = (clock() - start) / batch_size
    progress.advance()
    released_s = statistics.median(p.other_s for p in pairs)
    asked_alone = zip(asked[:singles], judged, found, strict=True)
    agreements = [_agreement(retriever, released, *part) for part in asked_alone]
    return {
        "corpus": name,
        "released_ms": released_s * 1e3,
        "single_ms": statistics.median(p.ours_s for p in pairs) * 1e3,
        "batch_ms": batch_s * 1e3,
        "batch_size": batch_size,
        "single_speedup": median_speedup(pairs),
        "batch_speedup": released_s / batch_s,
        "unjudged_speedup": median_speedup(fewer),
        "assessment_share": 1 - sum(p.ours_s for p in fewer) / sum(p.ours_s for p in pairs),
        "candidates": statistics.fmean(len(j) for j in judged),
        "equal": sum(a.equal for a in agreements),
        "common_passages": statistics.fmean(a.common for a in agreements),
        "queries": singles,
    }


def _untrained(corpus: Corpus, backbone: str, batch_size: int) -> SelfRetriever:
    """Index a corpus without training, over the whole vocabulary, as the released way has it."""
    table = {"backbone": backbone, "training": {"tokens": 0}, "trim_vocabulary": False, "lowercase": False}
    retriever = SelfRetriever(
        SelfRetrievalSettings.model_validate({**table, "dtype": "float32", "query_batch": batch_size})
    )
    retriever.index(corpus, Split("train"), Split("dev"))
    return retriever


class Agreement(NamedTuple):
    """How far two ways agree on a question.

    titles: the same number of them with the same scores. common: share of the other way's passages that ours found.
    judged: what both found is refused with the same probability.
    """

    titles: bool
    common: float
    judged: bool

    @property
    def equal(self) -> bool:
        """Whether titles and judgements agree. The passages may differ: the other way ends each with <eos>."""
        return self.titles and self.judged and self.common > 0


def agreement(
    titles: Sequence[float], judged: Sequence[Judged], other_titles: Sequence[float], found: Sequence[Found]
) -> Agreement:
    """Compare the title scores and the judged passages of both ways."""
    close = len(titles) == len(other_titles) and np.allclose(sorted(titles), sorted(other_titles), atol=TOLERANCE)
    mine = {j.candidate.items: j.assessment.p_reject for j in judged if j.assessment}
    common = [(mine[f.rows], f.p_reject) for f in found if f.rows in mine]
    alike = all(abs(a - b) <= TOLERANCE for a, b in common)
    return Agreement(bool(close), len(common) / max(len(found), 1), alike)


def _agreement(
    retriever: SelfRetriever, released: Released, question: str, judged: Sequence[Judged], found: Sequence[Found]
) -> Agreement:
    backbone, memory, _ = retriever.parts
    prompt = backbone.encode([prompts.question(question) + prompts.TITLE])[0]
    lattice = require_lattice(backbone)
    states, slots = lattice.prefill([prompt])
    titles = write_titles(lattice, states, slots, memory, retriever.settings.title_beams)
    return agreement([t.score for t in titles], judged, [score for _, score in released.titles(prompt)], found)
