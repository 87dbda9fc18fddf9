"""The sentences say what the figures say: first, not first, level, untested, failed, absent."""

from __future__ import annotations

import pytest

from reports import tables
from reports.load import ALL, Cell, Comparison, Report, Row, Score, Section
from reports.summary import facts, failures, fairness, limits, summary


def make(system, family, value=None, *, meter=None, states=("done",), reason="out of memory"):
    cells = tuple(
        Cell(i, f"d/{system}/{i}", state, "" if state == "done" else reason, 1.0, meter or {}, ())
        for i, state in enumerate(states)
    )
    scores = {} if value is None else {ALL: {"RR@5": Score(value, value - 0.1, value + 0.1, 50, None)}}
    return Row(system, system, family, cells, scores)


def against(system, baseline, difference, p):
    return Comparison(system, baseline, "RR@5", difference, p, p, 50)


def section(*rows, comparisons=()):
    return Section("set", "set", {}, rows, tuple(comparisons), "RR@5")


def report(*sections, seeds=(0,)):
    return Report({"split": "test"}, sections, ("RR@5",), "RR@5", seeds)


def said(*rows, comparisons=()):
    return summary(report(section(*rows, comparisons=comparisons)))["set"]


BM25 = make("bm25", "sparse", 0.4, meter={"latency_ms": {"p50": 2.0}, "index_bytes": 100, "parameter_bytes": 0})
DENSE = make("dense", "dense", 0.5, meter={"latency_ms": {"p50": 10.0}, "index_bytes": 1000, "parameter_bytes": 1000})
SLOW = {"latency_ms": {"p50": 500.0}, "index_bytes": 1000, "parameter_bytes": 5000}


def test_self_retrieval_first_and_significantly_so():
    ours = make("sr", "self-retrieval", 0.6, meter=SLOW)
    pairs = [against("sr", "dense", 0.1, 0.0004), against("sr", "bm25", 0.2, 0.03)]
    lead, rivals, price = said(BM25, DENSE, ours, comparisons=pairs)
    assert lead.startswith("On set, sr is first with MRR@5 0.600, 0.100 ahead of the best baseline, dense (0.500);")
    assert "the difference is significant" in lead
    assert "place 1 of 3" in rivals
    assert "gains 0.100 over dense (p\u202f<\u202f0.001) and gains 0.200 over bm25 (p\u202f=\u202f0.030)." in rivals
    assert "50×" in price
    assert "3.00× the memory" in price


def test_baseline_first_is_said_as_plainly():
    ours = make("sr", "self-retrieval", 0.45, meter=SLOW)
    pairs = [against("sr", "dense", -0.05, 0.2), against("sr", "bm25", 0.05, 0.6)]
    lead, rivals, _ = said(BM25, DENSE, ours, comparisons=pairs)
    assert "dense, a baseline, is first" in lead
    assert "second-placed sr (0.450)" in lead
    assert "not significant" in lead
    assert "loses 0.050 to dense (p\u202f=\u202f0.200, not significant)" in rivals


def test_level_systems_share_the_place():
    lead, rivals, _ = said(DENSE, make("sr", "self-retrieval", 0.5, meter=SLOW))
    assert lead == "On set, dense and sr share the first place with MRR@5 0.500."
    assert "equals dense (not tested)" in rivals


def test_untested_difference_is_called_untested():
    lead, *_ = said(DENSE, make("sr", "self-retrieval", 0.7))
    assert "no test of this difference was recorded" in lead


def test_a_pair_that_lacks_a_seed_is_not_called_insignificant():
    pairs = [against("sr", "dense", 0.2, None), against("sr", "bm25", 0.3, 0.03)]
    lead, rivals, *_ = said(BM25, DENSE, make("sr", "self-retrieval", 0.7), comparisons=pairs)
    assert "the difference was not tested on every seed." in lead
    assert "gains 0.200 over dense (not tested on every seed)" in rivals
    cells = tables.significance(section(comparisons=pairs), ("RR@5",)).lines[0].cells
    assert [cell.text for cell in cells[4:]] == ["–", "–", "50", "not tested on every seed"]


def test_failed_and_absent_self_retrieval():
    broken = make("sr", "self-retrieval", states=("failed",))
    assert said(BM25, DENSE, broken)[1] == "sr has no score here (see below), so self-retrieval cannot be compared."
    assert said(BM25, DENSE)[1] == "No self-retrieval system took part."


def test_nothing_scored_and_a_lone_system():
    assert said(make("bm25", "sparse", states=("failed",)))[0] == "No system has a score on set."
    assert "only system with a score" in said(BM25)[0]


def test_brackets_are_never_first():
    assert "dense" in said(BM25, DENSE, make("oracle", "bracket", 1.0))[0].split(" is first")[0]


def test_price_without_measurements_gives_no_ratio():
    assert "were not both measured" in said(DENSE, make("sr", "self-retrieval", 0.7))[2]


def test_seeds_with_one_reason_are_told_once():
    row = make("sr", "self-retrieval", 0.5, states=("done", "failed", "failed"))
    (found,) = failures(report(section(row)))
    assert (found.system, found.seeds, found.reason, found.folder) == ("sr", (1, 2), "out of memory", "d/sr/1")


@pytest.mark.parametrize(
    ("ours", "words"),
    [(1_015_000, "equally many tokens"), (1_030_000, "Training budgets differ"), (None, "not measured")],
)
def test_token_budgets(ours, words):
    dsi = make("dsi", "generative", 0.2, meter={"train_tokens": 1_000_000})
    sr = make("sr", "self-retrieval", 0.3, meter={} if ours is None else {"train_tokens": ours})
    text = " ".join(fairness(section(dsi, sr)))
    assert words in text
    assert ("equally" in text) == (ours == 1_015_000)


def test_model_sizes_that_differ_are_said():
    small = make("dsi", "generative", 0.2, meter={"train_tokens": 5, "parameter_bytes": 1_000})
    large = make("sr", "self-retrieval", 0.3, meter={"train_tokens": 5, "parameter_bytes": 9_000})
    assert "Their models differ in size" in " ".join(fairness(section(small, large)))


def test_one_seed_is_a_limit():
    assert "One seed (0): how far figures vary from seed to seed is unknown" in limits(report(section(BM25)))[0]
    twice = make("dsi", "generative", 0.2, states=("done", "done"))
    assert "the spread over 2 seeds" in limits(report(section(twice), seeds=(0, 1)))[0]
    assert "the spread over up to 2 seeds" in limits(report(section(BM25, twice), seeds=(0, 1)))[0]


def test_seeds_that_failed_leave_no_spread():
    once = make("dsi", "generative", 0.2, states=("done", "failed"))
    assert limits(report(section(once), seeds=(0, 1)))[0].startswith("One seed a system (0, 1): how far")
    caption = tables.quality(report(section(once), seeds=(0, 1)), section(once)).caption
    assert "averaged over the seeds" not in caption


def test_facts_are_flat_and_leave_out_what_is_not_known():
    assert facts({"cpu": {"cores": 2, "flags": ["a", "b"]}, "gpu": None}) == [("cpu.cores", "2"), ("cpu.flags", "a; b")]
    assert facts({"memory_bytes": 25_000_000_000}) == [("memory", "25.0\u202fGB")]


def table_of(*rows, comparisons=()):
    built = tables.quality(report(section(*rows)), section(*rows, comparisons=comparisons))
    return {line.cells[0].text: line for line in built.lines}


def test_best_is_bold_and_the_oracle_is_not():
    lines = table_of(BM25, DENSE, make("oracle", "bracket", 1.0))
    assert [lines[s].cells[1].bold for s in ("bm25", "dense", "oracle")] == [False, True, False]
    assert lines["oracle"].muted
    assert lines["dense"].cells[1].small == "[0.400, 0.600]"


def test_marks_follow_the_corrected_p_value():
    ours = make("sr", "self-retrieval", 0.6)
    pairs = [against("sr", "dense", 0.1, 0.049), against("bm25", "dense", -0.1, 0.01)]
    lines = table_of(BM25, DENSE, ours, comparisons=pairs)
    assert [lines[s].cells[1].mark for s in ("bm25", "dense", "sr")] == ["▼", "†", "▲"]
    lines = table_of(DENSE, ours, comparisons=[against("sr", "dense", 0.1, 0.05)])
    assert lines["sr"].cells[1].mark == ""


def test_failed_row_gives_its_reason_and_absent_figures_a_dash():
    lines = table_of(DENSE, make("dsi", "generative", states=("failed",)), make("sr", "self-retrieval"))
    assert lines["dsi"].failed
    assert lines["dsi"].cells[1].text == "failed: out of memory"
    assert lines["dsi"].cells[1].span == 2
    assert [c.text for c in lines["sr"].cells] == ["sr", "–", "–"]


def test_lost_seeds_are_noted():
    row = make("sr", "self-retrieval", 0.5, states=("done", "failed"))
    assert tables.quality(report(), section(row)).notes == ("sr: 1 of 2 seeds without a result (out of memory).",)


def test_cost_shows_zero_as_zero_and_the_unmeasured_as_a_dash():
    built = tables.cost(section(BM25, make("x", "dense", 0.1)))
    assert built.heads == ("System", "Latency p50", "Index", "Parameters")
    assert [c.text for c in built.lines[0].cells] == ["bm25", "2.00\u202fms", "100\u202fB", "0\u202fB"]
    assert [c.text for c in built.lines[1].cells] == ["x", "–", "–", "–"]


def test_long_reasons_are_cut():
    assert len(tables.shorten("word " * 100)) <= tables.LONGEST_REASON
    assert tables.shorten("word " * 100).endswith("…")


def test_pairs_are_shown_once_and_brackets_only_in_the_full_table():
    pairs = [against("bm25", "dense", -0.1, 0.2), against("dense", "bm25", 0.1, 0.2), against("o", "bm25", 0.6, 0.001)]
    where = section(BM25, DENSE, make("o", "bracket", 1.0), comparisons=pairs)
    assert len(tables.significance(where, ("RR@5",)).lines) == 1
    assert len(tables.significance(where, ("RR@5",), everything=True).lines) == 3


def test_what_is_kept_between_queries_is_told_with_the_price():
    for more, told in (({"cache_bytes": 8_000_000_000}, True), ({}, False)):
        *_, price = said(BM25, DENSE, make("sr", "self-retrieval", 0.6, meter={**SLOW, **more}))
        assert ("beside 8.00\u202fGB of what it has read, kept between queries" in price) is told
