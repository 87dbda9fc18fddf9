"""Latency distributions, memory bars, quality by slice and by corpus size: drawn where measured, and said in words."""

from __future__ import annotations

import pytest

from reports import growth, slices, spread
from reports.load import ALL, Cell, Report, Row, Score, Section


def make(system, family, value=0.5, *, meter=None, groups=()):
    cell = Cell(0, f"d/{system}/0", "done", "", 1.0, meter or {}, ())
    score = Score(value, value - 0.05, value + 0.05, 50, None)
    return Row(system, system, family, (cell,), {g: {"RR@5": score} for g in (ALL, *groups)})


def section_of(*rows, name="set", passages=10, warning=""):
    return Section(name, name.replace("/", "-"), {"passages": passages}, rows, (), "RR@5", warning=warning)


def timed(p50, samples=()):
    latency = {"p50": p50, "p95": p50 * 2, "p99": p50 * 3}
    return {"latency_ms": latency, "latency_samples_ms": list(samples)}


def test_a_box_needs_the_latency_of_each_query(tmp_path):
    kept = make("bm25", "sparse", meter=timed(3.0, [1.0, 2.0, 3.0, 4.0, 5.0]))
    summed = make("dsi", "generative", meter=timed(10.0))
    both = spread.latencies(section_of(kept, summed), tmp_path)
    words = (
        "bm25 p50 3.00\u202fms, p95 6.00\u202fms, p99 9.00\u202fms, half of the queries 2.00\u202fms to 4.00\u202fms"
    )
    assert words in both.alt
    assert both.alt.endswith("dsi p50 10.0\u202fms, p95 20.0\u202fms, p99 30.0\u202fms.")
    assert "Box" in both.caption
    assert "Without a box" in both.caption
    alone = spread.latencies(section_of(summed), tmp_path).caption
    assert "Box:" not in alone
    assert "Without a box" not in spread.latencies(section_of(kept), tmp_path).caption


def test_few_or_broken_samples_are_no_distribution(tmp_path):
    row = make("bm25", "sparse", meter=timed(3.0, [1.0, "2", None, float("nan"), 2.0]))
    assert "half of the queries" not in spread.latencies(section_of(row), tmp_path).alt


def test_no_latency_or_memory_no_figure(tmp_path):
    section = section_of(make("bm25", "sparse"), make("oracle", "bracket", meter=timed(1.0)))
    assert spread.latencies(section, tmp_path) is None
    assert spread.memory(section, tmp_path) is None


def test_dots_are_chosen_evenly_with_both_ends():
    assert spread._some([1.0, 2.0]) == [1.0, 2.0]
    few = spread._some([float(i) for i in range(1000)])
    assert (len(few), few[0], few[-1]) == (spread.MOST_DOTS, 0.0, 999.0)


def test_memory_bars_tell_index_from_parameters_and_the_process(tmp_path):
    meter = {"index_bytes": 2_000_000, "parameter_bytes": 5_000_000, "rss_peak_bytes": {"search": 9_000_000}}
    partial = make("dsi", "generative", meter={"rss_peak_bytes": {"search": 1_000_000}})
    found = spread.memory(section_of(make("dense", "dense", meter=meter), partial), tmp_path)
    assert "dense index 2.00\u202fMB, parameters 5.00\u202fMB, peak while searching 9.00\u202fMB" in found.alt
    assert found.alt.endswith("dsi peak while searching 1.00\u202fMB.")


def test_slices_are_sorted_by_what_they_ask():
    names = ("verbatim", "not verbatim", "gold train queries 0", "gold train queries 5+", "query words 1-4", "odd")
    found = slices.kinds(section_of(make("bm25", "sparse", groups=names)))
    assert [kind.names for kind in found] == [names[:2], names[2:4], names[4:5], names[5:]]
    assert found[1].ticks == ("0\nn = 50", "5+\nn = 50")
    assert found[-1].title == slices.OTHERS


def test_runs_without_the_newer_slices_are_drawn_too(tmp_path):
    found = slices.draw(section_of(make("bm25", "sparse", groups=("verbatim",))), tmp_path)
    assert found.alt == "MRR@5 by slice. verbatim: bm25 0.500."
    assert slices.draw(section_of(make("bm25", "sparse")), tmp_path) is None


def grown(*sizes, **options):
    sections = []
    for name, passages in sizes:
        rows = make("bm25", "sparse", passages / 1000, meter=timed(1.0)), make("oracle", "bracket")
        sections.append(section_of(*rows, name=name, passages=passages, **options))
    return Report({}, tuple(sections), ("RR@5",), "RR@5", (0,))


def test_sizes_of_one_collection_make_a_curve(tmp_path):
    report = grown(("wiki/2k", 200), ("wiki/500", 50), ("other/1k", 100), ("plain", 10))
    (chapter,) = growth.chapters(report, tmp_path)
    assert chapter.name == "wiki"
    assert chapter.drawing.alt == "MRR@5 by corpus size. bm25: 50 passages 0.050, 200 passages 0.200."
    assert "50 passages: 50; 200 passages: 50" in chapter.drawing.caption
    assert [cell.raw for cell in chapter.table.lines[0].cells] == [None, 0.05, 1.0, 0.2, 1.0]
    assert len(chapter.table.lines) == 1
    assert (tmp_path / "growth-wiki.png").is_file()


@pytest.mark.parametrize(
    ("sizes", "options"),
    [
        ((("wiki/500", 50),), {}),
        ((("wiki/500", 50), ("wiki/1k", 50)), {}),
        ((("kilt:sets/nq", 50), ("kilt:sets/triviaqa", 100)), {}),
        ((("wiki/500", 50), ("wiki/1k", 100)), {"warning": "other data"}),
    ],
)
def test_one_size_equal_sizes_and_data_that_must_not_be_joined_make_none(tmp_path, sizes, options):
    assert growth.chapters(grown(*sizes, **options), tmp_path) == []
