"""What the view holds after reading a run folder, with means and p values worked out by hand."""

from __future__ import annotations

import json
import math

import pytest

from harness.errors import RunFolderError
from reports import tables
from reports.load import load, number
from reports.markup import to_md
from tests.unit.reports.sample_run import REASON, write_sample


@pytest.fixture
def folder(tmp_path):
    return write_sample(tmp_path / "run", seeds=(0, 1), queries=20)


def edit(folder, name, change):
    path = folder / name
    value = json.loads(path.read_text(encoding="utf-8"))
    path.write_text(json.dumps(change(value)), encoding="utf-8")


def row(report, system, section=0):
    return next(r for r in report.sections[section].rows if r.system == system)


def test_scores_are_means_over_seeds(folder):
    def change(rows):
        for r in rows:
            if (r["system"], r["slice"], r["measure"]) == ("bm25", "all", "RR@5"):
                r |= {"value": (0.2, 0.6)[r["seed"]], "ci_low": 0.1, "ci_high": (0.5, 0.9)[r["seed"]]}
        return rows

    edit(folder, "results.json", change)
    score = row(load(folder), "bm25").score("RR@5")
    assert (score.value, score.low, score.high) == pytest.approx((0.4, 0.1, 0.7))
    assert score.sd == pytest.approx(math.sqrt(0.08))
    assert score.n == 20


def test_one_seed_has_no_spread(tmp_path):
    report = load(write_sample(tmp_path / "run", queries=20))
    assert row(report, "bm25").score("RR@5").sd is None


def pair(p_holm, seed, difference, baseline="dense"):
    at = {"dataset": "vital-articles/500", "split": "test", "seed": seed, "measure": "RR@5"}
    return at | {"system": "bm25", "baseline": baseline, "difference": difference, "p": 0.01, "p_holm": p_holm, "n": 20}


def test_p_value_is_the_largest_of_the_seeds(folder):
    edit(folder, "significance.json", lambda _: [pair(0.01, 0, -0.2), pair(0.2, 1, -0.4)])
    section = load(folder).sections[0]
    found = section.compare("bm25", "dense")
    assert found.p_holm == 0.2
    assert found.difference == pytest.approx(-0.3)
    assert not found.significant
    assert section.compare("dense", "bm25").difference == pytest.approx(0.3)


def test_seeds_that_contradict_each_other_are_not_significant(folder):
    edit(folder, "significance.json", lambda _: [pair(0.001, 0, -0.2), pair(0.001, 1, 0.4)])
    section = load(folder).sections[0]
    found = section.compare("bm25", "dense")
    assert (found.p, found.p_holm, found.significant) == (None, None, False)
    assert found.difference == pytest.approx(0.1)
    text = to_md(tables.significance(section, ("RR@5",)))
    assert "not of one sign on all seeds" in text and "none where their signs differ" in text
    edit(folder, "significance.json", lambda _: [pair(0.01, 0, 0.0), pair(0.001, 1, 0.4)])
    assert load(folder).sections[0].compare("bm25", "dense").p_holm == 0.01


def test_pair_tested_on_some_seeds_only_has_no_p_value(folder):
    edit(folder, "significance.json", lambda _: [pair(0.01, 0, -0.2)])
    found = load(folder).sections[0].compare("bm25", "dense")
    assert found.p_holm is None
    assert not found.significant


def test_a_seed_told_twice_does_not_stand_in_for_another(folder):
    edit(folder, "significance.json", lambda _: [pair(0.01, 0, -0.2), pair(0.02, 0, -0.2)])
    found = load(folder).sections[0].compare("bm25", "dense")
    assert (found.p_holm, found.seeds) == (None, (0,))


def test_failed_cells_keep_their_reason_and_show_no_scores(folder):
    failed = row(load(folder), "dsi-title")
    assert failed.failed == f"during train: {REASON}"
    assert failed.scores == {}
    assert failed.cost("index_s") is None


def test_cell_that_never_ended_is_missing_and_its_scores_do_not_count(folder):
    (folder / "vital-articles-500" / "bm25" / "1" / "status.json").unlink()
    found = row(load(folder), "bm25")
    assert [c.state for c in found.cells] == ["done", "missing"]
    assert found.failed is None
    assert found.score("RR@5").sd is None


def test_reference_is_the_best_baseline_and_never_a_bracket_or_self_retrieval(tmp_path):
    quality = {"bm25": 0.3, "dense": 0.5, "self-retrieval": 0.9, "oracle": 1.0}
    section = load(write_sample(tmp_path / "run", quality=quality, failed={})).sections[0]
    assert section.reference().system == "dense"
    assert [r.system for r in section.ranked()] == ["self-retrieval", "dense", "bm25"]


@pytest.mark.parametrize("least", [0.89, 0.8899999999999999])
def test_reference_among_equals_is_the_one_that_was_tested(folder, least):
    values = {"bm25": 0.89, "dense": 0.89, "dense-tuned": least, "dsi": 0.89}

    def level(rows):
        return [r | {"value": values.get(r["system"], r["value"])} for r in rows]

    edit(folder, "results.json", level)
    edit(folder, "significance.json", lambda _: [pair(0.5, s, 0.0, baseline="dense-tuned") for s in (0, 1)])
    assert load(folder).sections[0].reference().system == "dense-tuned"


def test_memory_needs_both_of_its_parts(folder):
    meter = folder / "vital-articles-500" / "bm25"
    assert row(load(folder), "bm25").memory_bytes == 310_000
    for seed in (0, 1):
        edit(meter, f"{seed}/meter.json", lambda m: {k: v for k, v in m.items() if k != "parameter_bytes"})
    assert row(load(folder), "bm25").memory_bytes is None


def test_numbers():
    assert number(0) == 0.0
    assert [number(x) for x in (None, True, "1", math.nan, math.inf)] == [None] * 5


def test_no_run_folder(tmp_path):
    with pytest.raises(RunFolderError, match="run folder"):
        load(tmp_path)


def test_rows_without_their_keys_are_named(folder):
    edit(folder, "results.json", lambda rows: [{"dataset": "vital-articles/500"}])
    with pytest.raises(RunFolderError, match="KeyError"):
        load(folder)


def test_a_result_of_other_settings_is_none(folder):
    edit(
        folder,
        "experiment.json",
        lambda record: (
            record
            | {
                "cells": [
                    cell | ({"fingerprint": "new"} if (cell["system"], cell["seed"]) == ("bm25", 1) else {})
                    for cell in record["cells"]
                ]
            }
        ),
    )
    found = row(load(folder), "bm25")
    assert [cell.state for cell in found.cells] == ["done", "missing"]
    assert found.cells[1].reason == "it has only the result of other settings: the run was interrupted"
    alone = row(load(write_sample(folder.parent / "alone", seeds=(0,), queries=20)), "bm25")
    assert found.score("RR@5").value == alone.score("RR@5").value
    assert found.cost("latency_ms.p50") == alone.cost("latency_ms.p50")


def test_machines_are_those_the_cells_ran_on(folder):
    assert (len(load(folder).sections[0].machines), load(folder).warnings) == (1, ())
    path = folder / "vital-articles-500" / "bm25" / "1" / "status.json"
    path.write_text(json.dumps(json.loads(path.read_text()) | {"machine": {"cpu": {"model": "Another CPU"}}}))
    report = load(folder)
    assert len(report.sections[0].machines) == 2
    assert "Another CPU" in report.warnings[0]
    assert "compare no times" in report.warnings[0]


@pytest.mark.parametrize(
    ("sample", "n", "said"),
    [
        ("all 20 test queries", 20, "the test queries"),
        ("all 20 test queries", 7, "the first 7 of the 20 test queries"),
        ("the 20 of 90 test queries with the smallest hash", 20, "the 20 of 90 test queries with the smallest hash"),
        ("the 20 of 90 test queries by hash", 7, "the first 7 of the 20 of 90 test queries by hash"),
    ],
)
def test_which_queries_were_asked_is_said_on_the_table(folder, sample, n, said):
    def cut(record):
        record["datasets"]["vital-articles/500"]["protocol"]["sample"] = sample
        return record

    edit(folder, "experiment.json", cut)
    edit(folder, "results.json", lambda rows: [r | {"n": n} for r in rows])
    report = load(folder)
    section = report.sections[0]
    assert section.queries == said
    caption = tables.quality(report, section).caption
    whole = f"Quality on {said} of vital-articles/500: " if said == "the test queries" else ""
    assert caption.startswith(whole or f"Quality on vital-articles/500, {said}: ")
