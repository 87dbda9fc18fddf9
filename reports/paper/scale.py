"""The paper's own scale: its data sets, the experiments on them, and which parts of them were never run here."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from importlib import resources
from typing import Any

from reports.paper import systems
from reports.paper.cost import Load, Set, Total, total
from reports.paper.published import Published
from reports.paper.recipes import Recipe
from reports.paper.steps import Step, steps
from reports.paper.systems import GPUS, Job

ACCELERATE = "accelerate-8-gpus.yaml"
"""Settings of accelerate that are shipped, and written beside the experiments."""
ROUND = "round figures, not from the paper"

NEVER_RUN = (
    f"training on {GPUS} GPUs (the loop was checked with two processes on processors)",
    "the paper's ZeRO: every GPU holds the whole model, so that backbones of 4B parameters and more do not fit 80 GB",
    "every backbone, encoder and cross-encoder named here, and bfloat16 at that size",
    "the data sets at their full size; their readers were checked on small files of the same form",
    "the paper's two separate trainings: here both stages, one after the other, share one cosine schedule",
    "the paper's 2,000 dev queries: they stay in the training set, since nothing is chosen on them",
    "DSI-QG, whose queries a docT5query writes and a cross-encoder sorts: dsi-qg here has its own backbone write them",
    "DPR, GTR-XXL, GritLM, ada-002, SEAL, NCI, GenRet, Ultron, DocT5Query and RankGPT: no such system is here, "
    "or it needs a service; an encoder of the hub can be named as `model` of dense",
)


@dataclass(frozen=True)
class Scaled:
    """One experiment at the paper's scale: its table, as TOML has it, and what each system costs on its data."""

    name: str
    table: Mapping[str, Any]
    loads: tuple[Load, ...]
    data: Set

    @property
    def counts(self) -> str:
        """Say how large its data are."""
        return (
            f"{self.data.documents:,} documents, {self.data.passages:,} passages, "
            f"{self.data.train:,} training queries, {self.data.test:,} test queries ({self.data.known})"
        )


@dataclass(frozen=True)
class Plan:
    """Everything that redoes one table or figure: experiments, and what is asked of their runs afterwards."""

    recipe: Recipe
    experiments: tuple[Scaled, ...]
    steps: tuple[Step, ...] = ()

    @property
    def total(self) -> Total:
        """Cost of all experiments, and of what follows them."""
        return whole(self.experiments, self.steps)

    @property
    def names(self) -> tuple[str, ...]:
        """Names of the experiments, as their results bear them."""
        return tuple(scaled.name for scaled in self.experiments)

    @property
    def datasets(self) -> tuple[str, ...]:
        """Names of the data sets that are needed."""
        return tuple(dict.fromkeys(name for experiment in self.experiments for name in experiment.table["datasets"]))


def whole(experiments: Iterable[Scaled], steps: Iterable[Step]) -> Total:
    """Add up what experiments and the commands behind them cost."""
    found = total([load for experiment in experiments for load in experiment.loads])
    return found._replace(search_h=found.search_h + sum(step.search_h for step in steps))


def plan(recipe: Recipe, published: Published) -> Plan:
    """List the experiments that redo a table or figure; empty where there is nothing to run (sizes of data sets)."""
    made = [scaled for name in recipe.paper_scale for scaled in _EXPERIMENTS[name](published)]
    experiments = tuple({scaled.name: scaled for scaled in made}.values())
    table = published.tables.get(recipe.number) if recipe.kind == "table" else None
    return Plan(recipe, experiments, tuple(step for scaled in experiments for step in steps(recipe, table, scaled)))


def names(recipe: Recipe, published: Published) -> tuple[str, ...]:
    """Name the experiments that redo a table or figure at full size."""
    return plan(recipe, published).names


def accelerate_file() -> str:
    """Return the text of the shipped settings of accelerate."""
    return (resources.files("reports.paper") / ACCELERATE).read_text(encoding="utf-8")


def toml(table: Mapping[str, Any]) -> str:
    """Write a table of texts, numbers, truth values, lists of these and tables as TOML."""
    return "\n".join(_lines(table, ())) + "\n"


def _lines(table: Mapping[str, Any], path: tuple[str, ...]) -> list[str]:
    lines = [f"{_key(name)} = {_value(value)}" for name, value in table.items() if not isinstance(value, Mapping)]
    for name, value in table.items():
        if isinstance(value, Mapping):
            inner = (*path, _key(name))
            lines += ["", f"[{'.'.join(inner)}]", *_lines(value, inner)]
    return lines


def _key(name: str) -> str:
    return name if name.replace("-", "").replace("_", "").isalnum() and name.isascii() else _value(name)


def _value(value: object) -> str:
    # Texts here hold no character that JSON and TOML escape differently.
    return json.dumps(value, ensure_ascii=False)


def _counted(published: Published, name: str) -> Set:
    counts = published.datasets[name]
    return Set(counts["docs"], counts["passages"], counts["train"], counts["test"])


def _scaled(name: str, dataset: str, settings: Mapping[str, Any], data: Set, jobs: Mapping[str, Job]) -> Scaled:
    table = {
        "name": name,
        "title": f"{name}: the paper's scale",
        "measures": ["Success@1", "Success@5", "R@1", "R@5", "R@10", "RR@5", "RR@10", "RR@100"],
        "limits": {"time_s": 1_209_600.0, "memory_gb": 1_000.0},
        "datasets": {dataset: dict(settings)},
        "systems": {label: job.table for label, job in jobs.items()},
    }
    loads = [(label, job.load) for label, job in jobs.items()]
    loads += [(f"{label}: {job.first.system}", job.first) for label, job in jobs.items() if job.first]
    named = tuple(load._replace(system=label) for label, load in loads)
    return Scaled(name, table, named, data)


_KILT = {"nq": "kilt:kilt/nq", "triviaqa": "kilt:kilt/triviaqa"}


def _kilt(
    name: str, size: str, jobs: Callable[[Set], Mapping[str, Job]], sets: Iterable[str] = _KILT
) -> Callable[[Published], list[Scaled]]:
    """Make an experiment for each of the two sets of KILT, or for one of them, cut to so many documents."""

    def made(published: Published) -> list[Scaled]:
        found = []
        for short in sets:
            data = _counted(published, f"{short}-{size}")
            settings = {"max_documents": data.documents, "kilt_passage_words": 200}
            found.append(_scaled(f"{name}-{short}-{size}", _KILT[short], settings, data, jobs(data)))
        return found

    return made


def _passages(data: Set) -> dict[str, Job]:
    encoder = {"model": systems.GTR_XL.hub}
    return {
        "bm25": systems.bm25(data),
        "dense": systems.dense(data),
        "dense-finetuned": systems.dense_finetuned(data),
        "rerank-dense": systems.rerank(data, "dense", encoder, before=systems.dense(data, systems.GTR_XL).load),
        "dsi": systems.dsi(data),
        "self-retrieval": systems.self_retrieval(data),
        "self-retrieval-7b": systems.self_retrieval(data, systems.LLAMA2_7B),
    }


def _ablation(data: Set) -> dict[str, Job]:
    return {
        "self-retrieval": systems.self_retrieval(data),
        "without-indexing": systems.self_retrieval(data, indexing=False),
        "without-titles": systems.self_retrieval(data, titles=False),
        "without-assessment": systems.self_retrieval(data, assessment=False),
    }


def _answers(data: Set) -> dict[str, Job]:
    return {
        "dense-reader": systems.dense_reader(data),
        "dense-reader-7b": systems.dense_reader(data, systems.LLAMA2_7B),
        "self-retrieval": systems.self_retrieval(data),
        "self-retrieval-7b": systems.self_retrieval(data, systems.LLAMA2_7B),
    }


def _reranking(data: Set) -> dict[str, Job]:
    own = systems.dsi(data)
    dsi = {key: value for key, value in own.table.items() if key != "system"}
    firsts: dict[str, tuple[Mapping[str, Any], Job]] = {
        "bm25": ({}, systems.bm25(data)),
        "dense": ({"model": systems.BGE.hub}, systems.dense(data)),
        "dsi": (dsi, own),
    }
    found = {first: job for first, (_, job) in firsts.items()}
    for first, (settings, job) in firsts.items():
        found[f"rerank-{first}"] = systems.rerank(data, first, settings, before=job.load)
        found[f"self-rerank-{first}"] = systems.self_rerank(data, first, settings, before=job.load)
    return found


def _capacity(published: Published) -> list[Scaled]:
    data = _counted(published, "nq-10k")
    models = {
        "stablelm-1.6b": systems.STABLELM_1B,
        "stablelm-3b": systems.STABLELM_3B,
        "llama2-7b": systems.LLAMA2_7B,
        "llama2-13b": systems.LLAMA2_13B,
        "qwen-4b": systems.QWEN_4B,
        "qwen-7b": systems.QWEN_7B,
        "qwen-14b": systems.QWEN_14B,
    }
    jobs = {label: systems.self_retrieval(data, model) for label, model in models.items()}
    settings = {"max_documents": data.documents, "kilt_passage_words": 200}
    return [_scaled("paper-capacity-nq-10k", _KILT["nq"], settings, data, jobs)]


def _corpus_sizes(published: Published) -> list[Scaled]:
    """10,000 to 200,000 documents of each set."""
    found = []
    for short, dataset in _KILT.items():
        known = {documents: _counted(published, f"{short}-{documents // 1000}k") for documents in (10_000, 40_000)}
        for documents in (10_000, 40_000, 100_000, 200_000):
            data = known.get(documents) or _grown(known[40_000], documents)
            jobs = {"dense-finetuned": systems.dense_finetuned(data), "self-retrieval": systems.self_retrieval(data)}
            settings = {"max_documents": data.documents, "kilt_passage_words": 200}
            found.append(_scaled(f"paper-corpus-{short}-{documents // 1000}k", dataset, settings, data, jobs))
    return found


def _grown(data: Set, documents: int) -> Set:
    """Count a larger corpus of the same kind with the same queries; passages in proportion."""
    passages = round(data.passages / data.documents * documents)
    return Set(documents, passages, data.train, data.test, known=ROUND)


def _short_passages(published: Published) -> list[Scaled]:
    whole = _counted(published, "nq-10k")
    data = Set(whole.documents, 2 * whole.passages, whole.train, whole.test, 100, "passages doubled")
    jobs = {"dense-finetuned": systems.dense_finetuned(data), "self-retrieval": systems.self_retrieval(data)}
    settings = {"max_documents": data.documents, "kilt_passage_words": 100}
    return [_scaled("paper-short-passages-nq-10k", _KILT["nq"], settings, data, jobs)]


def _documents(model: systems.Model, data: Set) -> dict[str, Job]:
    return {
        "bm25": systems.bm25(data),
        "dense": systems.dense(data),
        "dsi": systems.dsi(data, model),
        "self-retrieval": systems.self_retrieval(data, model),
    }


def _nq320k(_: Published) -> list[Scaled]:
    data = Set(110_000, 110_000, 307_000, 7_800, 400, ROUND)
    jobs = _documents(systems.STABLELM_1B, data)
    return [_scaled("paper-nq320k", "nq320k:nq320k", {}, data, jobs)]


def _msmarco(_: Published) -> list[Scaled]:
    data = Set(320_000, 320_000, 360_000, 5_200, 400, ROUND)
    jobs = _documents(systems.STABLELM_3B, data)
    settings = {"msmarco_documents": "top", "generate_titles": systems.STABLELM_3B.hub}
    return [_scaled("paper-msmarco", "msmarco-docs:msmarco-docs", settings, data, jobs)]


def _all_answers(published: Published) -> list[Scaled]:
    return [scaled for size in ("10k", "40k") for scaled in _kilt("paper-answers", size, _answers)(published)]


_EXPERIMENTS: Mapping[str, Callable[[Published], list[Scaled]]] = {
    "paper-passages": _kilt("paper-passages", "10k", _passages),
    "paper-passages-nq": _kilt("paper-passages", "10k", _passages, sets=("nq",)),
    "paper-ablation": _kilt("paper-ablation", "10k", _ablation),
    "paper-reranking": _kilt("paper-reranking", "10k", _reranking),
    "paper-answers": _all_answers,
    "paper-short-passages": _short_passages,
    "paper-capacity": _capacity,
    "paper-corpus-size": _corpus_sizes,
    "paper-nq320k": _nq320k,
    "paper-msmarco": _msmarco,
}
"""Name in a recipe -> the experiments, one for each data set."""
