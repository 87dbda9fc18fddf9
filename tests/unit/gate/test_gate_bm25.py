"""Real BM25 on 5,000 real articles: what a gate lets through and what it does not."""

from __future__ import annotations

from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from harness import datasets, measures, registry
from harness.datasets.settings import DatasetSettings
from harness.gate import judge, updating
from harness.gate.verdicts import Outcome, Verdict
from harness.types import Corpus, Dataset
from tests.unit.gate.sample import Values, meter, write_run

MEASURES = ("Success@1", "Success@5", "RR@5", "nDCG@10", "R@100")


@cache
def articles(name: str = "vital-articles/5k") -> Dataset:
    return datasets.load(name, DatasetSettings())


def searched(
    share: float = 1.0, system_name: str = "bm25", name: str = "vital-articles/5k", **settings: Any
) -> tuple[Values, int]:
    """Index a share of the corpus and search every test query; return measures and the bytes of the index."""
    dataset, system = articles(name), registry.get(system_name)
    split = dataset.split("test")
    passages = [dataset.corpus[row] for row in range(round(share * len(dataset.corpus)))]
    retriever = system.build(system.config(**settings), 0)
    retriever.index(Corpus.from_passages(passages), dataset.split("train"), dataset.split("dev"))
    hits = retriever.search([query.text for query in split.queries], 100)
    run = {query.qid: found for query, found in zip(split.queries, hits, strict=True)}
    values = measures.per_query(run, split.qrels, [query.qid for query in split.queries], MEASURES)
    return {name: list(by_qid.values()) for name, by_qid in values.items()}, retriever.footprint().index_bytes


def run_of(folder: Path, share: float = 1.0, **settings: Any) -> Path:
    values, index_bytes = searched(share, **settings)
    return write_run(folder, {"bm25": values}, meters={"bm25": meter(index=index_bytes)})


@pytest.fixture(scope="module")
def baseline(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("bm25")
    file = folder / "gate.json"
    updating.update(run_of(folder / "run"), file)
    return file


def failed(outcome: Outcome) -> set[str]:
    return {row.what for row in outcome.having(Verdict.FAIL)}


def test_another_run_of_the_same_system_is_the_same(baseline: Path, tmp_path: Path) -> None:
    outcome = judge.gate(run_of(tmp_path / "run"), baseline)
    assert {row.reason for row in outcome.rows} == {"the same"}


def test_wrong_length_normalisation_fails(baseline: Path, tmp_path: Path) -> None:
    outcome = judge.gate(run_of(tmp_path / "run", b=0.0), baseline)
    assert {"Success@1", "RR@5"} <= failed(outcome)


def test_a_truncated_index_fails(baseline: Path, tmp_path: Path) -> None:
    outcome = judge.gate(run_of(tmp_path / "run", share=0.5), baseline)
    assert failed(outcome) == set(MEASURES)
    (index,) = [row for row in outcome.rows if row.what == "index"]
    assert index.verdict is Verdict.WARN


def test_a_setting_that_hardly_matters_passes(baseline: Path, tmp_path: Path) -> None:
    assert judge.gate(run_of(tmp_path / "run", b=0.41), baseline).passed


def test_20_reruns_of_two_systems_on_machines_of_any_speed_pass_20_of_20(tmp_path: Path) -> None:
    """Each time the articles are indexed and searched anew, on a machine up to three times as slow and wasteful.

    Were seconds or bytes compared across machines, some would fail; noise alone takes no ratio past its limit.
    """
    rng = np.random.default_rng(7)

    def rerun(name: str, machine: float) -> Path:
        found, meters = {}, {}
        for system in ("bm25", "bm25-rank"):
            found[system], index = searched(system_name=system, name="vital-articles/500")
            noise = rng.uniform(0.85, 1.15), rng.uniform(0.95, 1.05)
            meters[system] = meter(p50=machine * noise[0], memory=round(1e8 * machine * noise[1]), index=index)
        return write_run(tmp_path / name, found, meters=meters)

    file = tmp_path / "gate.json"
    updating.update(rerun("first", 1), file, {"latency": "fail"})
    outcomes = [judge.gate(rerun(f"run{i}", rng.uniform(1, 3)), file) for i in range(20)]
    assert [outcome.passed for outcome in outcomes] == [True] * 20
    assert {row.reason for row in outcomes[0].rows if row.unit == "score"} == {"the same"}
