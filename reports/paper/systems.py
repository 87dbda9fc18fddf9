"""The systems of the paper's own experiments as tables of settings, each with what it costs on a data set."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, NamedTuple

from reports.paper import cost
from reports.paper.cost import Load, Set

GPUS = 8
BATCH = 16 * GPUS
"""Examples a step: 16 on each GPU."""

Table = dict[str, Any]


class Model(NamedTuple):
    """A language model or an encoder: its name on the Hugging Face hub and its number of parameters."""

    hub: str
    parameters: float


STABLELM_3B = Model("stabilityai/stablelm-3b-4e1t", 2.8e9)
STABLELM_1B = Model("stabilityai/stablelm-2-1_6b", 1.64e9)
LLAMA2_7B = Model("meta-llama/Llama-2-7b-hf", 6.74e9)
LLAMA2_13B = Model("meta-llama/Llama-2-13b-hf", 13.0e9)
QWEN_4B = Model("Qwen/Qwen1.5-4B", 3.95e9)
QWEN_7B = Model("Qwen/Qwen1.5-7B", 7.72e9)
QWEN_14B = Model("Qwen/Qwen1.5-14B", 14.2e9)
BGE = Model("BAAI/bge-large-en-v1.5", 0.335e9)
BGE_RERANKER = Model("BAAI/bge-reranker-large", 0.56e9)
GTR_XL = Model("sentence-transformers/gtr-t5-xl", 1.24e9)


class Job(NamedTuple):
    """One system on one data set: its table in an experiment, and its cost; `first`: that of the system before it."""

    table: Table
    load: Load
    first: Load | None = None


def bm25(data: Set) -> Job:
    """Search for words."""
    return Job({"system": "bm25"}, Load("bm25", 0.0, 0.0, 0.0, data.passages))


def dense(data: Set, model: Model = BGE) -> Job:
    """Search with an encoder as it comes."""
    return Job(
        {"system": "dense", "model": model.hub}, Load("dense", model.parameters, 0.0, _encoded(data), data.passages)
    )


def dense_finetuned(data: Set, model: Model = BGE) -> Job:
    """Search with an encoder trained on the training queries, each beside one right and three wrong passages."""
    tokens = cost.EPOCHS * data.train * (4 * data.passage_tokens)
    table = {"system": "dense-finetuned", "model": model.hub, "hard_negatives": 3, "training": {"epochs": cost.EPOCHS}}
    return Job(table, Load("dense-finetuned", model.parameters, tokens, _encoded(data), data.passages))


def rerank(data: Set, first: str, settings: Mapping[str, Any], depth: int = 100, before: Load | None = None) -> Job:
    """Read the first candidates again with a cross-encoder that was trained on the first system's mistakes."""
    table = {"system": "rerank", "first": first, "model": BGE_RERANKER.hub, "depth": depth, "weight": 1.0}
    tokens = cost.EPOCHS * data.train * (4 * data.passage_tokens)
    load = Load("rerank", BGE_RERANKER.parameters, tokens, data.test * depth * data.passage_tokens, data.passages)
    table |= {"training": {"epochs": cost.EPOCHS}} | ({first: dict(settings)} if settings else {})
    return Job(table, load, before)


def dsi(data: Set, model: Model = STABLELM_3B) -> Job:
    """Write identifiers with the backbone of Self-Retrieval."""
    tokens = cost.EPOCHS * (data.passages * cost.SENTENCES * 45 + cost.PASSES * data.train * 40)
    table: Table = {"system": "dsi", "backbone": model.hub, "dtype": "bfloat16", "training": _training(tokens, 42.0)}
    return Job(table, Load("dsi", model.parameters, tokens, data.test * 280.0, data.passages))


def self_retrieval(data: Set, model: Model = STABLELM_3B, **changes: Any) -> Job:
    """Self-Retrieval as the paper has it; `changes` are settings of its ablation."""
    indexing = changes.get("indexing", True)
    views = cost.views(data, indexing=indexing)
    for view, switch in (("title", "titles"), ("content", "titles"), ("assess", "assessment")):
        if not changes.get(switch, True):
            views[view] = 0.0
    once = sum(views.values())
    table: Table = {
        "system": "self-retrieval",
        "backbone": model.hub,
        "dtype": "bfloat16",
        "negatives": cost.NEGATIVES,
        "trim_vocabulary": False,
        "shares": {name: round(tokens / once, 4) for name, tokens in views.items()},
        "training": _training(cost.EPOCHS * once, _mean_tokens(data, views)),
        **changes,
    }
    switches = {name: bool(changes.get(name, True)) for name in ("titles", "assessment")}
    found = cost.search_tokens(data, **switches)
    return Job(table, Load("self-retrieval", model.parameters, cost.EPOCHS * once, found, data.passages))


def self_rerank(data: Set, first: str, settings: Mapping[str, Any], before: Load | None = None) -> Job:
    """Read the first 100 candidates again with Self-Retrieval's self-assessment."""
    judge = self_retrieval(data)
    own = {key: value for key, value in judge.table.items() if key != "system"}
    table = {"system": "self-rerank", "first": first, "first_settings": dict(settings), "depth": 100, "judge": own}
    load = judge.load._replace(system="self-rerank", search_tokens=data.test * 100 * data.passage_tokens)
    return Job(table, load, before)


def dense_reader(data: Set, model: Model = STABLELM_3B) -> Job:
    """Find with an encoder, and answer with the backbone of Self-Retrieval, trained on the gold passages."""
    tokens = cost.EPOCHS * data.train * data.passage_tokens
    table = {
        "system": "dense-reader",
        "first_stage": {"model": BGE.hub},
        "backbone": model.hub,
        "dtype": "bfloat16",
        "trim_vocabulary": False,
        "training": _training(tokens, data.passage_tokens),
    }
    return Job(table, Load("dense-reader", model.parameters, tokens, data.test * data.passage_tokens, data.passages))


def _training(tokens: float, mean_tokens: float) -> Table:
    """The paper's way: AdamW, 2e-5, cosine, 3 percent of warm-up, batches of 16 a GPU, every layer."""
    return {
        "tokens": round(tokens),
        "learning_rate": 2e-5,
        "warmup": 0.03,
        "weight_decay": 0.0,
        "batch_tokens": round(BATCH * mean_tokens),
        "row_tokens": 512,
        "frozen_layers": 0,
        "freeze_embeddings": False,
        "dtype": "bfloat16",
        "checkpoint_s": 1800.0,
    }


def _mean_tokens(data: Set, views: Mapping[str, float]) -> float:
    """Return the tokens of an average example: so many views, so many examples."""
    lengths = {"memorise": cost.SENTENCE_TOKENS, "recall": cost.SENTENCE_TOKENS, "title": cost.TITLE_TOKENS}
    examples = sum(tokens / lengths.get(name, data.passage_tokens) for name, tokens in views.items())
    return sum(views.values()) / examples


def _encoded(data: Set) -> float:
    return data.passages * 1.3 * 0.8 * data.words + data.test * 20.0
