"""Outside runs in a report: they take part in quality, and are left out aloud where nothing of them is known."""

from __future__ import annotations

from reports import plots, tables
from reports.load import FAMILIES, Report
from tests.unit.reports.test_report_figures import drawn, make, report_of, timed

BM25 = make("bm25", "sparse", 0.4, meter=timed(0.5))
DENSE = make("dense", "dense", 0.3, meter=timed(9))
OTHER = make("colbert", "outside", 0.6, meter={"hits": 500})


def test_a_trade_off_says_whom_it_leaves_out(tmp_path):
    found = drawn(tmp_path, BM25, DENSE, OTHER)
    assert found["latency"].caption.endswith("Left out, because their latency was not measured: colbert.")
    assert "colbert" not in found["latency"].alt
    assert "colbert" in found["hits"].alt
    assert "Left out" not in drawn(tmp_path, BM25, DENSE)["latency"].caption


def test_the_cost_table_says_that_nothing_is_known_of_it():
    _, section = report_of(BM25, DENSE, OTHER)
    built = tables.cost(section)
    (line,) = [line for line in built.lines if line.group == "outside"]
    assert [cell.text for cell in line.cells] == ["colbert"] + ["–"] * (len(built.heads) - 1)
    assert built.notes == ("Outside runs, of which nothing but the hits is known: colbert.",)
    assert tables.cost(report_of(BM25, DENSE)[1]).notes == ()


def test_it_is_a_baseline_with_a_place_and_a_look_of_its_own():
    report, section = report_of(BM25, DENSE, OTHER)
    assert isinstance(report, Report)
    assert section.reference() is OTHER
    assert not OTHER.bracket
    assert "outside" in FAMILIES
    assert "outside" in plots.LOOKS
