"""The rows and records a run folder holds, as they stand in its JSON files (format 1).

A key whose figure was not measured is absent, never 0 and never null.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal, NotRequired, Protocol, TypedDict

FORMAT = 1
"""Version of the run folder this program writes and reads."""


OUTSIDE = "outside"
"""Stands as `registered` and as `family` of a cell whose hits were read from a file: no system of ours made them."""


class CellKey(Protocol):
    """What tells one cell from another; anything with these three attributes will do."""

    @property
    def dataset(self) -> str:
        """Name of the dataset."""

    @property
    def system(self) -> str:
        """Label of the system in the experiment."""

    @property
    def seed(self) -> int:
        """Seed of everything random in the cell."""


@dataclass(frozen=True)
class Cell:
    """One dataset x system x seed.

    system: its label, unique in the experiment; registered: the name in the registry, `OUTSIDE` for an outside run.
    folder: where its files are; fingerprint: changes with anything that changes its results.
    """

    dataset: str
    system: str
    registered: str
    family: str
    seed: int
    folder: Path
    fingerprint: str

    @property
    def outside(self) -> bool:
        """Whether its hits were read from a file."""
        return self.registered == OUTSIDE


class CellRecord(TypedDict):
    """A `Cell` in experiment.json; `folder` is relative to the run folder, with forward slashes."""

    dataset: str
    system: str
    registered: str
    family: str
    seed: int
    folder: str
    fingerprint: str


CUT = "the "
"""How the card of a dataset begins to say which test queries it has, where it was cut to some; else with "all"."""


def sampled(card: Mapping[str, Any]) -> str:
    """Say, as the card of a dataset has it, which test queries it was cut to; empty where it has them all."""
    told = (card.get("protocol") or {}).get("sample")
    return told if isinstance(told, str) and told.startswith(CUT) else ""


class ExperimentRecord(TypedDict):
    """experiment.json: everything that was asked for, and on what machine."""

    format: int
    name: str
    title: str
    description: str
    fingerprint: str
    created: str
    harness_version: str
    command: list[str]
    config: dict[str, Any]
    split: str
    depth: int
    measures: list[str]
    primary: str
    datasets: dict[str, dict[str, Any]]
    environment: dict[str, Any]
    seeds: list[int]
    cells: list[CellRecord]
    notes: list[str]


class Result(TypedDict):
    """One figure of results.json: a measure's mean over the `n` queries of a slice, with its 95 % interval."""

    dataset: str
    split: str
    system: str
    family: str
    seed: int
    slice: str
    measure: str
    value: float
    ci_low: NotRequired[float]
    ci_high: NotRequired[float]
    n: int


class Comparison(TypedDict):
    """One row of significance.json; `difference` = mean of `system` - mean of `baseline` over `n` queries."""

    dataset: str
    split: str
    seed: int
    measure: str
    system: str
    baseline: str
    difference: float
    p: float
    p_holm: float
    n: int


class Indexed(TypedDict):
    """When the earlier cell ended that made the index (ISO 8601); with the same sources, on the same machine."""

    ended: str


class Status(TypedDict):
    """status.json: how a cell ended. `code` is the SHA-256 of the sources it ran; times are ISO 8601.

    machine: processor, memory and cards it ran on, which need not be those of the run's last start; absent in runs of
    before they were kept. indexed: where the index was kept from an earlier cell, which was searched or measured in
    another way.
    """

    format: int
    state: Literal["done", "failed"]
    reason: str | None
    phase: str | None
    fingerprint: str
    code: str
    started: str
    ended: str
    wall_s: float
    exit_code: int | None
    machine: NotRequired[dict[str, Any]]
    indexed: NotRequired[Indexed]


class LatencyMs(TypedDict):
    """Milliseconds of one query asked alone, over `n` queries, `k` hits each."""

    p50: float
    p95: float
    p99: float
    mean: float
    n: int
    k: int


class PeakBytes(TypedDict, total=False):
    """Largest resident memory of the process in each phase."""

    index: int
    search: int


class Counters(TypedDict, total=False):
    """What generative systems count while they search."""

    invalid_docids: float
    dead_beams: float
    model_calls_per_query: float
    search_share: float
    mask_share: float


class BeamRow(TypedDict):
    """One row of beams.json: a trained system searched with another beam size, over the first `n` evaluated queries.

    Each query is asked alone, after a warm-up. measures: ir_measures name -> mean over all `n` queries, 0 for one
    without hits. latency_ms: of these queries, asked for `k` hits. rss_peak_bytes: of the whole process while it
    searched. counters: absent for a system that counts nothing.
    """

    beam_size: int
    n: int
    measures: dict[str, float]
    latency_ms: LatencyMs
    rss_peak_bytes: int
    counters: NotRequired[Counters]


class AnswersRecord(TypedDict):
    """answers.json: how well a system answers, over the first `n` evaluated queries that have reference answers.

    exact_match, f1: means over all `n` queries (0 to 1), with their 95 % intervals where `n` is at least 2.
    gold_passage: share of the queries whose answer was read from a relevant passage. refused: share of the queries
    without an answer. latency_ms: of these queries, each asked alone after a warm-up; `k` is 1. rss_peak_bytes: of the
    whole process while it answered.
    """

    n: int
    exact_match: float
    exact_match_low: NotRequired[float]
    exact_match_high: NotRequired[float]
    f1: float
    f1_low: NotRequired[float]
    f1_high: NotRequired[float]
    gold_passage: float
    refused: float
    latency_ms: LatencyMs
    rss_peak_bytes: int


class AnswerRow(TypedDict):
    """One line of answers.jsonl: what was asked, what came, and what it is worth (0 to 1)."""

    qid: str
    question: str
    answer: str
    docid: str | None
    logprob: float
    references: list[str]
    exact_match: float
    f1: float
    gold_passage: float


class Meter(TypedDict, total=False):
    """meter.json: time, memory and size of one cell.

    dev_score, dev_tokens: quality on dev queries of the best weights a training was seen with, and how many tokens had
    been trained on by then; dev_s: seconds spent measuring it, which `index_s` includes and `tokens_per_s` does not.
    earlier_s: seconds of `index_s` that a training took before it was stopped and gone on with.
    gpu_peak_bytes: the most GPU memory torch held; gpu_peak_index_bytes: while it indexed.
    hits: of an outside run, of which nothing else is known.
    latency_samples_ms: each query of `latency_ms`, in the order asked.
    """

    hits: int
    load_s: float
    index_s: float
    earlier_s: float
    save_s: float
    search_s: float
    train_tokens: int
    tokens_per_s: float
    dev_score: float
    dev_tokens: int
    dev_s: float
    latency_ms: LatencyMs
    latency_samples_ms: list[float]
    queries_per_s: float
    batch_size: int
    rss_peak_bytes: PeakBytes
    rss_base_bytes: int
    gpu_peak_bytes: int
    gpu_peak_index_bytes: int
    index_bytes: int
    parameter_bytes: int
    cache_bytes: int
    model_bytes: int
    threads: int
    device: str
    counters: Counters
