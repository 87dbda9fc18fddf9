"""Write a small but complete run folder of invented figures, exactly as the harness lays one out."""

from __future__ import annotations

import json
import re
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from harness.datasets import stored
from harness.runfile import write_trec
from harness.types import Corpus, Dataset, Hit, Passage, Query, Split

HOSTILE = "<script>alert(1)</script><img src=x onerror=alert(2)>"
REASON = "<script>alert('boom')</script> | out of memory: 100 % of_the {GPU}"
FAMILIES = {
    "bm25": "sparse",
    "dense": "dense",
    "dense-tuned": "dense",
    "dsi": "generative",
    "dsi-title": "generative",
    "self-retrieval": "self-retrieval",
    "oracle": "bracket",
    "random": "bracket",
}
QUALITY = {
    "bm25": 0.42,
    "dense": 0.50,
    "dense-tuned": 0.56,
    "dsi": 0.20,
    "self-retrieval": 0.53,
    "oracle": 1.0,
    "random": 0.004,
}
BASELINES = ("bm25", "dense", "dense-tuned", "dsi")
MEASURES = ("Success@1", "Success@5", "Success@10", "RR@5", "RR@10", "nDCG@10", "R@10", "R@100")
LATENCY_MS = {
    "bm25": 0.4,
    "dense": 8.2,
    "dense-tuned": 8.3,
    "dsi": 310.0,
    "self-retrieval": 940.0,
    "oracle": 0.01,
    "random": 0.02,
}
INDEX_BYTES = {"bm25": 310_000, "dense": 768_000, "dense-tuned": 768_000, "dsi": 41_000, "self-retrieval": 2_400_000}
PARAMETER_BYTES = {"dense": 90_900_000, "dense-tuned": 90_900_000, "dsi": 538_000_000, "self-retrieval": 538_000_000}
PASSAGES = {"vital-articles/1k": 1000, "vital-articles/2k": 2000}
TRAIN_TOKENS = {"dense-tuned": 410_000, "dsi": 1_000_000, "self-retrieval": 1_100_000}


def _beams(system: str, sizes: Sequence[int], queries: int) -> list[dict[str, Any]]:
    """Quality that rises and levels off, latency that grows with the beam."""
    rows = []
    for size in sizes:
        top = QUALITY[system] * (1 - 0.4 / size)
        p50 = LATENCY_MS[system] * (0.3 + 0.035 * size)
        wide = min(1.0, top * (1 + 0.5 * (1 - 1 / size)))
        row: dict[str, Any] = {"beam_size": size, "n": queries, "rss_peak_bytes": 800_000_000 + 2_000_000 * size}
        row["measures"] = {"Success@1": top, "Success@5": wide, "RR@5": (top + wide) / 2}
        row["latency_ms"] = {"p50": p50, "p95": p50 * 1.6, "p99": p50 * 2, "mean": p50 * 1.1, "n": queries, "k": 100}
        row["counters"] = {"model_calls_per_query": 8.0 + size, "mask_share": 0.12}
        rows.append(row)
    return rows


def _answers(system: str, queries: int) -> dict[str, Any]:
    """How well a system answers: the better it finds, the better it answers."""
    exact, p50 = QUALITY[system] * 0.6, LATENCY_MS[system] + 700.0
    record: dict[str, Any] = {"n": queries, "gold_passage": QUALITY[system], "refused": 0.05}
    for name, value in (("exact_match", exact), ("f1", exact + 0.1)):
        record |= {name: value, f"{name}_low": value - 0.08, f"{name}_high": value + 0.08}
    record["latency_ms"] = {"p50": p50, "p95": p50 * 1.6, "p99": p50 * 2, "mean": p50 * 1.1, "n": queries, "k": 1}
    return record | {"rss_peak_bytes": 1_200_000_000}


def _answer_significance(dataset: str, queries: int) -> list[dict[str, Any]]:
    key = {
        "dataset": dataset,
        "split": "test",
        "seed": 0,
        "system": "self-retrieval",
        "baseline": "dense",
        "n": queries,
    }
    figures = {"exact_match": (0.018, 0.2, 0.2), "f1": (0.018, 0.01, 0.02)}
    return [key | {"measure": m, "difference": d, "p": p, "p_holm": h} for m, (d, p, h) in figures.items()]


def measures_of(ranks: np.ndarray) -> dict[str, np.ndarray]:
    """Turn the rank of the one relevant passage, (queries,) from 1, into measure -> value per query."""
    hits = {f"Success@{k}": (ranks <= k).astype(float) for k in (1, 5, 10)}
    reciprocal = {f"RR@{k}": np.where(ranks <= k, 1 / ranks, 0.0) for k in (5, 10)}
    gain = {"nDCG@10": np.where(ranks <= 10, 1 / np.log2(ranks + 1), 0.0)}
    return hits | reciprocal | gain | {f"R@{k}": (ranks <= k).astype(float) for k in (10, 100)}


def _json(path: Path, value: object) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps(value), encoding="utf-8")


def _meter(system: str, timed: int) -> dict[str, Any]:
    p50 = LATENCY_MS.get(system, 5.0)
    meter: dict[str, Any] = {
        "load_s": 0.2,
        "index_s": 640.0 if system in TRAIN_TOKENS else 1.3,
        "save_s": 0.1,
        "search_s": p50 / 10,
        "latency_ms": {"p50": p50, "p95": p50 * 1.6, "p99": p50 * 2.1, "mean": p50 * 1.1, "n": 100, "k": 100},
        "queries_per_s": 2500 / p50,
        "batch_size": 16,
        "rss_peak_bytes": {"index": 1_900_000_000, "search": 800_000_000},
        "rss_base_bytes": 400_000_000,
        "index_bytes": INDEX_BYTES.get(system, 9_000),
        "parameter_bytes": PARAMETER_BYTES.get(system, 0),
        "model_bytes": 2_000_000,
        "threads": 2,
        "device": "cpu",
    }
    if timed:
        spans = np.random.default_rng(3).lognormal(np.log(p50), 0.3, timed)
        meter["latency_samples_ms"] = [float(ms) for ms in spans]
    if system in TRAIN_TOKENS:
        meter |= {"train_tokens": TRAIN_TOKENS[system], "tokens_per_s": 1_750.0}
    if FAMILIES.get(system) in ("generative", "self-retrieval"):
        meter["counters"] = {"invalid_docids": 0, "dead_beams": 3, "model_calls_per_query": 41.5, "mask_share": 0.12}
    return meter


def _training(system: str, seed: int) -> list[dict[str, Any]]:
    rng = np.random.default_rng(seed + 7)
    rows: list[dict[str, Any]] = []
    for step in range(1, 41):
        tokens = TRAIN_TOKENS[system] * step // 40
        rows.append({"tokens": tokens, "loss": float(4.5 * np.exp(-step / 14) + 0.4 + rng.normal(0, 0.06))})
        if step % 8 == 0 and system != "dense-tuned":
            rows.append({"tokens": tokens, "dev_RR@5": QUALITY[system] * (1 - np.exp(-step / 15))})
    return rows


def _result_rows(
    key: Mapping[str, Any], groups: Mapping[str, np.ndarray], values: Mapping[str, np.ndarray]
) -> list[Any]:
    rows = []
    for name, members in groups.items():
        for measure, per_query in values.items():
            chosen = per_query[members]
            half = 1.96 * float(chosen.std()) / len(chosen) ** 0.5
            mean = float(chosen.mean())
            low, high = max(0.0, mean - half), min(1.0, mean + half)
            row = {"slice": name, "measure": measure, "value": mean, "ci_low": low, "ci_high": high, "n": len(chosen)}
            rows.append(dict(key) | row)
    return rows


def _significance(key: Mapping[str, Any], scores: Mapping[str, Mapping[str, np.ndarray]]) -> list[dict[str, Any]]:
    rows = []
    for system in scores:
        for baseline in BASELINES:
            if system == baseline or baseline not in scores:
                continue
            for measure in MEASURES:
                gap = scores[system][measure] - scores[baseline][measure]
                signs = np.random.default_rng(0).choice([-1.0, 1.0], size=(400, len(gap)))
                p = float((np.abs((signs * gap).mean(1)) >= abs(gap.mean()) - 1e-12).mean())
                pair = {"measure": measure, "system": system, "baseline": baseline}
                figures = {"difference": float(gap.mean()), "p": p, "p_holm": min(1.0, 3 * p), "n": len(gap)}
                rows.append(dict(key) | pair | figures)
    return rows


def _status(state: str, reason: str | None = None) -> dict[str, Any]:
    times = {"started": "2025-01-01T10:00:00Z", "ended": "2025-01-01T10:12:00Z", "wall_s": 720.0}
    where = {"reason": reason, "phase": "train" if reason else None, "exit_code": 1 if reason else 0}
    return {"format": 1, "state": state, "fingerprint": "ab12", "code": "cd34"} | where | times


def _run(ranks: np.ndarray) -> dict[str, list[Hit]]:
    """Put passage i at its rank for query i, and others above it; none where the rank is beyond 3."""
    count, run = len(ranks), {}
    for i, rank in enumerate(ranks):
        found = [f"d{(i + 1 + above) % count}" for above in range(min(int(rank), 4) - 1)]
        found += [f"d{i}"] if rank <= 3 else []
        run[f"q{i}"] = [Hit(docid, float(-place)) for place, docid in enumerate(found)]
    return run


def _data(folder: Path, name: str, queries: int) -> None:
    """Store a dataset in which passage i answers query i; query 1 and passage 1 are hostile."""
    words = [f"article {i} tells of thing {i} " + "and so on " * 30 for i in range(queries)]
    passages = [Passage(f"d{i}", f"Title {i}", text, f"d{i}") for i, text in enumerate(words)]
    passages[1] = Passage("d1", f"Title 1 {HOSTILE}", f"{HOSTILE}\u2028{words[1]}", "d1")
    asked = [Query(f"q{i}", f"What tells of thing {i}?") for i in range(queries)]
    asked[1] = Query("q1", f"What tells of {HOSTILE}?")
    test = Split("test", tuple(asked), {f"q{i}": {f"d{i}": 1} for i in range(queries)})
    dataset = Dataset(name, Corpus.from_passages(passages), Split("train"), Split("dev"), test, _card(name, queries))
    stored.save(dataset, folder)


def _cell(
    folder: Path, system: str, seed: int, values: Mapping[str, np.ndarray], *, timed: int, ranks: np.ndarray
) -> None:
    _json(folder / "spec.json", {"system": system, "seed": seed, "settings": {}})
    (folder / "cell.log").write_text("index\nsearch\n", encoding="utf-8")
    (folder / "model").mkdir()
    _json(folder / "meter.json", _meter(system, timed))
    if system in TRAIN_TOKENS:
        lines = "".join(json.dumps(row) + "\n" for row in _training(system, seed))
        (folder / "training.jsonl").write_text(lines, encoding="utf-8")
    write_trec(folder / "run.trec.gz", _run(ranks), system)
    long = [(f"q{i}", m, float(v)) for m, column in values.items() for i, v in enumerate(column)]
    qids, names, figures = zip(*long, strict=True)
    table = pa.table({"qid": list(qids), "measure": list(names), "value": list(figures)})
    pq.write_table(table, folder / "per_query.parquet")


def _card(name: str, queries: int) -> dict[str, Any]:
    return {
        "name": name,
        "source": "Invented <b>articles</b> & short descriptions",
        "licence": "CC BY-SA 4.0",
        "description": "Lead sections with one query each.",
        "passages": PASSAGES.get(name, 500),
        "documents": PASSAGES.get(name, 500),
        "queries": {"train": 261, "dev": 44, "test": queries},
        "checksum": "9f" * 32,
        "protocol": {
            "chunking": "one passage a document",
            "sample": "first 500 by hash",
            "split_rule": "60/10/30 by hash of the query",
            "judgements": "the described article is the one relevant passage",
        },
        "notes": ["Short descriptions share words with the articles."],
    }


def write_sample(
    folder: Path,
    *,
    datasets: Sequence[str] = ("vital-articles/500",),
    seeds: Sequence[int] = (0,),
    quality: Mapping[str, float] = QUALITY,
    failed: Mapping[str, str] | None = None,
    slices: bool = True,
    queries: int = 120,
    beams: Sequence[int] = (),
    answers: bool = False,
    data: bool = False,
    timed: int = 0,
) -> Path:
    """Write the run folder and return it; `quality` is each system's chance of rank 1, `failed` label -> reason.

    beams: sizes that the systems with a beam were searched with on the first seed; none: nobody measured it.
    answers: dense and self-retrieval were let answer on the first seed.
    data: the dataset itself is there too; timed: so many latencies of single queries are.
    """
    failed = {"dsi-title": REASON} if failed is None else failed
    systems = [s for s in FAMILIES if s in quality or s in failed]
    cells: list[dict[str, Any]] = []
    results: list[dict[str, Any]] = []
    significance: list[dict[str, Any]] = []
    for dataset in datasets:
        slug = re.sub(r"[^A-Za-z0-9._-]+", "-", dataset)
        _json(folder / slug / "data" / "card.json", _card(dataset, queries))
        if data:
            _data(folder / slug / "data", dataset, queries)
        groups = {"all": np.arange(queries)}
        if slices:
            groups |= {"verbatim": np.arange(queries // 4), "not verbatim": np.arange(queries // 4, queries)}
            groups |= {f"gold train queries {b}": np.arange(queries)[i::3] for i, b in enumerate(("0", "1", "2-4"))}
            groups |= {
                f"query words {b}": np.arange(queries)[i::4] for i, b in enumerate(("1-4", "5-8", "9-12", "13+"))
            }
            groups |= {f"gold overlap {b}": np.arange(queries)[i::2] for i, b in enumerate(("0-24%", "75-100%"))}
        for seed in seeds:
            scores: dict[str, Mapping[str, np.ndarray]] = {}
            for number, system in enumerate(systems):
                at = f"{slug}/{system}/{seed}"
                key = {"dataset": dataset, "system": system, "family": FAMILIES[system], "seed": seed}
                cells.append(key | {"registered": system.split("-t")[0], "folder": at, "fingerprint": "ab12"})
                reason = failed.get(system)
                _json(folder / at / "status.json", _status("failed" if reason else "done", reason))
                if reason:
                    continue
                ranks = np.random.default_rng(100 * seed + number).geometric(quality[system], queries)
                scores[system] = measures_of(ranks)
                _cell(folder / at, system, seed, scores[system], timed=timed, ranks=ranks)
                if beams and seed == seeds[0] and FAMILIES[system] in ("generative", "self-retrieval"):
                    _json(folder / at / "beams.json", _beams(system, beams, queries))
                if answers and seed == seeds[0] and system in ("dense", "self-retrieval"):
                    _json(folder / at / "answers.json", _answers(system, queries))
                results += _result_rows(key | {"split": "test"}, groups, scores[system])
            significance += _significance({"dataset": dataset, "split": "test", "seed": seed}, scores)
    if answers:
        told = [row for dataset in datasets for row in _answer_significance(dataset, queries)]
        _json(folder / "answer_significance.json", told)
    _json(folder / "results.json", results)
    _json(folder / "significance.json", significance)
    _json(folder / "experiment.json", _experiment(folder.name, datasets, seeds, cells, queries))
    return folder


def _experiment(
    name: str, datasets: Sequence[str], seeds: Sequence[int], cells: list[dict[str, Any]], queries: int
) -> dict[str, Any]:
    return {
        "format": 1,
        "name": name,
        "title": "Index or language model?",
        "description": "A <small> comparison & nothing more.",
        "fingerprint": "ab12cd34ef56",
        "created": "2025-01-01T10:00:00Z",
        "harness_version": "0.1.0",
        "command": ["harness", "run", "default", "--set", "name=a b"],
        "config": {"name": name, "datasets": list(datasets), "systems": list(QUALITY), "lm": {"lr": 0.0005}},
        "split": "test",
        "depth": 100,
        "measures": list(MEASURES),
        "primary": "RR@5",
        "datasets": {d: _card(d, queries) for d in datasets},
        "environment": {
            "python": "3.11.9",
            "platform": "Linux",
            "cpu": {"model": "Invented CPU", "cores": 2},
            "packages": {"torch": "2.13.0", "faiss-cpu": "1.10"},
            "threads": 2,
        },
        "seeds": list(seeds),
        "cells": cells,
        "notes": ["The encoder may have seen these articles in its own training."],
    }
