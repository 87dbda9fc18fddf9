"""Invented cells of kept results, for tests of the redrawn paper."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

FAMILIES = {"bm25": "sparse", "dense": "dense", "dsi": "generative", "rerank": "rerank", "oracle": "bracket"}


def cell(
    experiment: str,
    system: str,
    values: Mapping[str, float],
    *,
    registered: str | None = None,
    dataset: str = "toy",
    documents: int | None = 500,
    seed: int = 0,
    settings: Mapping[str, Any] | None = None,
    beams: Mapping[int, float] | None = None,
    exact_match: float | None = None,
    parameter_bytes: int = 540_000_000,
) -> dict[str, Any]:
    """One cell; `beams`: size -> Hits@5, each taking as many ms as the beam is wide."""
    name = registered or system
    family = FAMILIES.get(name, "self-retrieval")
    key = {"dataset": dataset, "split": "test", "system": system, "family": family, "seed": seed}
    rows = [key | {"slice": "all", "measure": m, "value": v, "n": 40} for m, v in values.items()]
    rows += [key | {"slice": "verbatim", "measure": m, "value": 0.123, "n": 9} for m in values]
    found: dict[str, Any] = {
        "experiment": experiment,
        "dataset": dataset,
        "checksum": "c0ffee00" * 8,
        "system": system,
        "registered": name,
        "family": family,
        "seed": seed,
        "fingerprint": f"{seed}{system}".ljust(64, "0"),
        "code": "ab",
        "ended": "2026-01-01T00:00:00+00:00",
        "settings": dict(settings or {}),
        "machine": {},
        "meter": {"train_tokens": 20_000, "parameter_bytes": parameter_bytes, "index_bytes": 2_000_000},
        "results": rows,
    }
    if documents is not None:
        found["corpus"] = {"passages": 2 * documents, "documents": documents}
    if beams:
        latency = {"p95": 1.0, "p99": 1.0, "n": 5, "k": 100}
        found["beams"] = [
            {
                "beam_size": size,
                "n": 5,
                "measures": {"Success@5": hits, "Success@1": 0.1, "RR@5": 0.1},
                "latency_ms": {"p50": 1.0, "mean": float(size), **latency},
                "rss_peak_bytes": 1,
            }
            for size, hits in beams.items()
        ]
    if exact_match is not None:
        found["answers"] = {"exact_match": exact_match, "n": 5, "f1": 0.5}
    return found


def write(file: Path, cells: Sequence[Mapping[str, Any]]) -> Path:
    file.write_text(json.dumps({"format": 1, "cells": list(cells)}), encoding="utf-8")
    return file


def hits(one: float, five: float, reciprocal: float) -> dict[str, float]:
    return {"Success@1": one, "Success@5": five, "RR@5": reciprocal}
