"""Figures: the front, labels that keep apart, curves, and drawing only what was measured."""

from __future__ import annotations

import re
from dataclasses import replace
from itertools import combinations

import pytest

from reports import figures, plots
from reports.load import ALL, Cell, Report, Row, Score, Section


def make(system, family, value=0.5, *, meter=None, training=(), slices=(), machine="one"):
    cell = Cell(0, f"d/{system}/0", "done", "", 1.0, meter or {}, tuple(training), machine=machine)
    score = Score(value, value - 0.05, value + 0.05, 50, None)
    return Row(system, system, family, (cell,), {g: {"RR@5": score, "Success@1": score} for g in (ALL, *slices)})


def report_of(*rows):
    section = Section("set", "set", {}, rows, (), "RR@5")
    return Report({}, (section,), ("RR@5",), "RR@5", (0,)), section


def drawn(tmp_path, *rows):
    report, section = report_of(*rows)
    return {d.slug.removesuffix("-set"): d for d in figures.draw(report, section, tmp_path)}


def timed(p50):
    return {"latency_ms": {"p50": p50}}


def test_front_keeps_what_nothing_beats():
    points = [(1.0, 0.2), (1.0, 0.3), (2.0, 0.3), (3.0, 0.9), (4.0, 0.8)]
    assert plots.pareto(points) == [1, 3]
    assert plots.pareto([]) == []


def test_labels_of_crowded_points_overlap_neither_each_other_nor_points():
    points = [(1.0, 0.50), (1.02, 0.505), (1.05, 0.50), (1.0, 0.51), (1.1, 0.512)]
    names = ["bm25", "dense", "dense-tuned", "dsi-semantic", "self-retrieval"]
    with plots.canvas(3.9) as figure:
        axes = figure.subplots()
        axes.plot([0.1, 10], [0.2, 0.8], linestyle="")
        plots.label_points(axes, points, names)
        boxes = [text.get_window_extent() for text in axes.texts]
        pixels = axes.transData.transform(points)
        frame = axes.get_window_extent()
    assert len(boxes) == 5
    assert not [1 for a, b in combinations(boxes, 2) if plots._shared(a, b) > 0.5]
    assert not [1 for box in boxes for x, y in pixels if box.contains(x, y)]
    assert all(frame.x0 <= box.x0 and box.x1 <= frame.x1 for box in boxes)


def test_nothing_is_drawn_without_its_data(tmp_path):
    assert set(drawn(tmp_path, make("bm25", "sparse"), make("dense", "dense"))) == {"hits"}
    assert {p.suffix for p in tmp_path.iterdir()} == {".svg", ".png", ".pdf"}


def test_one_point_is_no_trade_off(tmp_path):
    assert "latency" not in drawn(tmp_path, make("bm25", "sparse", meter=timed(1)), make("dense", "dense"))


def test_words_of_the_trade_off_hold_its_numbers(tmp_path):
    rows = make("bm25", "sparse", 0.4, meter=timed(0.5)), make("dense", "dense", 0.3, meter=timed(9))
    found = drawn(tmp_path, *rows, make("oracle", "bracket", 1.0, meter=timed(0.01)))["latency"]
    assert "bm25 0.400 at 0.50\u202fms; dense 0.300 at 9.00\u202fms" in found.alt
    assert found.alt.endswith("Pareto front: bm25.")
    assert "oracle" not in found.alt


def test_different_machines_share_no_front_of_latencies(tmp_path):
    meter = {"index_bytes": 10, "parameter_bytes": 0} | timed(1)
    first = make("a", "sparse", 0.4, meter=meter)
    one = drawn(tmp_path, first, make("b", "dense", 0.3, meter=meter))
    two = drawn(tmp_path, first, make("b", "dense", 0.3, meter=meter, machine="another"))
    assert "on the Pareto front: a." in one["latency"].caption
    assert two["latency"].caption.endswith(
        "No Pareto front is drawn: the systems ran on different machines, whose times must not be compared."
    )
    assert two["latency"].alt.endswith("b 0.300 at 1.00\u202fms.")
    assert two["memory"] == one["memory"]  # bytes of index and parameters are the same anywhere


def test_no_curve_is_of_a_first_seed_where_there_is_but_one(tmp_path):
    row = make("sr", "self-retrieval", training=[{"tokens": t, "loss": 1.0} for t in (10, 20)])
    report, section = report_of(row)
    runs_of_a_seed_each = replace(report, seeds=(0, 1))
    assert "First seed" not in figures._training(runs_of_a_seed_each, section, tmp_path).caption
    seeds = replace(row, cells=(*row.cells, replace(row.cells[0], seed=1)))
    assert "First seed" in figures._training(report, replace(section, rows=(seeds,)), tmp_path).caption


def test_later_stage_goes_on_counting_tokens(tmp_path):
    log = [{"tokens": 10, "loss": 3.0}, {"tokens": 20, "loss": 2.0}, {"tokens": 5, "loss": 2.5}, {"loss": 1.0}]
    row = make("sr", "self-retrieval", training=log)
    assert figures._curve(row, "loss") == [(10, 3.0), (20, 2.0), (25, 2.5)]
    assert "sr from 3.00 to 2.50 over 25 tokens" in drawn(tmp_path, row)["training"].alt


def test_dev_quality_gets_a_panel_and_dev_loss_does_not():
    log = [{"tokens": 10, "loss": 3.0, "dev_loss": 1.0, "dev_RR@5": 0.2}]
    assert figures._dev_key(make("sr", "self-retrieval", training=log)) == "dev_RR@5"
    assert figures._dev_key(make("sr", "self-retrieval", training=[{"tokens": 1, "dev_loss": 1.0}])) is None


def test_learning_curves_say_the_measure_as_people_do(tmp_path):
    log = [{"tokens": t, "loss": 1.0} for t in (10, 20)] + [{"tokens": 20, "dev_RR@5": 0.25}]
    found = drawn(tmp_path, make("sr", "self-retrieval", training=log))["training"]
    assert "sr MRR@5 on dev queries ends at 0.250" in found.alt
    assert "learning curves" in found.caption
    without = drawn(tmp_path, make("sr", "self-retrieval", training=log[:2]))["training"]
    assert "learning curves" not in without.caption


def test_long_logs_are_thinned_to_means():
    points = [(float(i), float(i % 2)) for i in range(1000)]
    thin = figures._thinned(points)
    assert len(thin) == 200
    assert thin[0] == (4.0, pytest.approx(0.4))


@pytest.mark.parametrize("count", [1, 2, 3])
def test_slices_are_drawn_whatever_their_number(tmp_path, count):
    names = ["verbatim", "not verbatim", "other"][:count]
    found = drawn(tmp_path, make("bm25", "sparse", slices=names))["slices"]
    assert found.alt.count("bm25 0.500") == count


def test_labels_are_never_read_as_formulas_or_markup(tmp_path):
    hostile = "$\\frac{1}$ </text><script>--> \u4e2d"
    found = drawn(tmp_path, make(hostile, "sparse", meter=timed(1)), make("dense", "dense", meter=timed(2)))
    assert "latency" in found
    assert not any("script" in d.svg for d in found.values())


def test_svgs_get_ids_of_their_own():
    svg = (
        '<?xml version="1.0"?><!-- x --><svg width="1pt" height="2pt" viewBox="0 0 1 2" xmlns="http://www.w3.org/2000/svg"'
        ' xmlns:xlink="http://www.w3.org/1999/xlink"><metadata>http://x</metadata><path id="a"/>'
        '<use xlink:href="#a" clip-path="url(#b)"/><rect width="3"/></svg>'
    )
    assert plots.inline(svg, "f g") == (
        '<svg aria-hidden="true" focusable="false" viewBox="0 0 1 2"><path id="f-g--a"/>'
        '<use href="#f-g--a" clip-path="url(#f-g--b)"/><rect width="3"/></svg>'
    )


def test_strokes_of_a_path_lose_their_blanks_and_ids_nobody_names_go():
    svg = '<svg><g id="axes"><path id="p" d="M 10 20 \nL 3.5 -4 \nz\n"/><use href="#p"/></g></svg>'
    assert plots.inline(svg, "f") == (
        '<svg aria-hidden="true" focusable="false"><g><path id="f--p" d="M10 20L3.5 -4z"/><use href="#f--p"/></g></svg>'
    )


def test_curves_of_one_family_differ():
    looks = plots.apart(["dense", "sparse", "dense", "dense", "dense"])
    dense = [looks[i] for i in (0, 2, 3, 4)]
    assert {look["marker"] for look in dense} == {"o"}
    assert len({(look.get("markerfacecolor"), look["linestyle"]) for look in dense}) == 4


def test_no_svg_refers_outside_itself(tmp_path):
    for drawing in drawn(tmp_path, make("a", "sparse", meter=timed(1)), make("b", "x-ray", meter=timed(2))).values():
        assert "http" not in drawing.svg
        ids = set(re.findall(r'\bid="([^"]+)"', drawing.svg))
        assert {i.removeprefix("#") for i in re.findall(r'href="([^"]+)"', drawing.svg)} <= ids
