"""The beam curve in the report: its figure, its table, its place on the pages, and nothing where nobody measured it."""

from __future__ import annotations

import json
from itertools import combinations, pairwise

import pytest

from harness.errors import RunFolderError
from reports import beams, plots, tables
from reports.beams import Beam
from reports.build import build
from reports.load import Cell, Row, Section, load
from tests.unit.reports.sample_run import write_sample

SLUG = "vital-articles-500"
SIZES = (1, 2, 5, 10, 20, 50, 100)


def make(system="dsi", family="generative", sizes=SIZES, *, n=50, scale=1.0, drop=()):
    found = tuple(
        Beam(
            size,
            n,
            {m: v for m, v in {"Success@1": 0.2, "Success@5": 0.5 - 0.3 / size, "RR@5": 0.3}.items() if m not in drop},
            scale * 10 * size,
            scale * 20 * size,
            1e9,
        )
        for size in sizes
    )
    return Row(system, system, family, (Cell(0, "f", "done", "", 1.0, {}, (), found),), {})


def section_of(*rows):
    return Section("set", "set", {}, rows, (), "RR@5")


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    folder = write_sample(tmp_path_factory.mktemp("runs") / "sample", slices=False, queries=30, beams=SIZES)
    build(folder)
    return folder


def test_words_of_the_figure_hold_its_numbers(tmp_path):
    found = beams.draw(section_of(make(sizes=(1, 10)), make("sr", "self-retrieval", (5,), n=40)), tmp_path)
    assert found.title == "Beam size"
    assert "dsi: beam 1 0.200 and 0.200 at 10.0\u202fms; beam 10 0.470 and 0.200 at 100\u202fms." in found.alt
    assert found.alt.endswith("sr: beam 5 0.440 and 0.200 at 50.0\u202fms.")
    for words in ("Hits@5 (solid)", "Hits@1 (dashed)", "40 to 50 queries", "as in Table 9, Tang et al. 2024"):
        assert words in found.caption
    assert "dsi's beam of identifiers and self-retrieval's beam of titles" in found.caption
    assert {p.name for p in tmp_path.iterdir()} == {f"beams-set.{ending}" for ending in ("svg", "png", "pdf")}


def test_labels_cover_neither_each_other_nor_lines(tmp_path, monkeypatch):
    seen = {}

    def look(figure, *_):
        axes = figure.axes[0]
        seen["boxes"] = [text.get_window_extent() for text in axes.texts]
        seen["texts"] = [text.get_text() for text in axes.texts]
        # A curve has markers; the thin lines that lead to far labels have none.
        lines = [line for line in axes.lines if line.get_marker() != "None"]
        seen["lines"] = [axes.transData.transform(line.get_xydata()) for line in lines]
        return ""

    monkeypatch.setattr(plots, "save", look)
    beams.draw(section_of(make(), make("sr", "self-retrieval", scale=1.4)), tmp_path)
    assert sorted(seen["texts"], key=int) == [str(size) for size in SIZES for _ in range(2)]
    assert not [1 for a, b in combinations(seen["boxes"], 2) if plots._shared(a, b) > 0.5]
    on_lines = (
        a + (b - a) * t for points in seen["lines"] for a, b in pairwise(points) for t in (0, 0.25, 0.5, 0.75, 1)
    )
    assert len(seen["lines"]) == 4
    assert not [at for at in on_lines for box in seen["boxes"] if box.contains(*at)]


def test_many_sizes_get_few_labels():
    (curve,) = beams._curves(section_of(make(sizes=range(1, 101))))
    assert curve.labelled == [0, 15, 30, 45, 60, 75, 90, 99]
    (curve,) = beams._curves(section_of(make(sizes=(7,))))
    assert curve.labelled == [0]


def test_systems_of_one_family_are_told_apart():
    curves = beams._curves(section_of(make(), make("sr", "self-retrieval"), make("dsi-naive")))
    looks = [(c.marker["marker"], c.marker.get("markerfacecolor")) for c in curves]
    assert looks == [("^", None), ("D", None), ("^", "white")]


def test_what_was_not_measured_is_not_drawn_and_a_dash_in_the_table(tmp_path):
    section = section_of(make(drop=("Success@1", "RR@5"), sizes=(3,)), make("bm25", "sparse", ()))
    assert beams.draw(section, tmp_path) is None
    (line,) = beams.table(section).lines
    assert [cell.text for cell in line.cells[:5]] == ["dsi", "3", "–", "0.400", "–"]


def test_a_run_without_beams_says_nothing_of_them(tmp_path):
    report = load(write_sample(tmp_path / "run", slices=False, queries=10))
    (section,) = report.sections
    assert "beams" not in tables.tables(report, section)
    assert beams.draw(section, tmp_path) is None


def test_table_holds_every_size_unrounded(folder):
    lines = (folder / "report" / "tables" / f"beams-{SLUG}.csv").read_text(encoding="utf-8").splitlines()
    assert lines[0] == "group,System,Beam size,Hits@1,Hits@5,MRR@5,Latency p50,p95,Peak RSS,Queries,failed"
    assert len(lines) == 1 + 2 * len(SIZES)
    stored = json.loads((folder / SLUG / "dsi" / "0" / "beams.json").read_text(encoding="utf-8"))[1]
    values = [float(v) for v in lines[2].split(",")[2:10]]
    latency, scores = stored["latency_ms"], stored["measures"]
    assert values == [
        *(2, scores["Success@1"], scores["Success@5"], scores["RR@5"]),
        *(latency["p50"], latency["p95"], stored["rss_peak_bytes"], 30),
    ]


def test_pages_show_it_where_cost_is(folder):
    page = (folder / "report" / "index.html").read_text(encoding="utf-8")
    places = [
        page.index(words)
        for words in ("<h3>Cost</h3>", f"cost-{SLUG}: ", f"beams-{SLUG}: ", "<h3>Figures</h3>", "Beam size.</strong>")
    ]
    assert places == sorted(places)
    text = (folder / "report" / "report.md").read_text(encoding="utf-8")
    places = [text.index(words) for words in ("**Cost on", "**Beam sizes on", f"(figures/beams-{SLUG}.png)")]
    assert places == sorted(places)
    assert text.count("Beam size.") == 1


def test_of_several_seeds_the_first_is_shown_and_it_is_said(tmp_path):
    report = load(write_sample(tmp_path / "run", seeds=(0, 1), slices=False, queries=10, beams=(1, 5)))
    (section,) = report.sections
    row = next(r for r in section.rows if r.system == "dsi")
    assert [len(cell.beams) for cell in row.cells] == [2, 0]
    table = tables.tables(report, section)["beams"]
    assert len(table.lines) == 4
    assert any("first seed" in note for note in table.notes)


def test_rows_come_narrowest_first_and_broken_ones_are_named(tmp_path):
    folder = write_sample(tmp_path / "run", slices=False, queries=10, beams=(20, 1))
    cell = next(r for r in load(folder).sections[0].rows if r.system == "dsi").cells[0]
    assert [beam.size for beam in cell.beams] == [1, 20]
    path = folder / SLUG / "dsi" / "0" / "beams.json"
    path.write_text('[{"beam_size": 1}]', encoding="utf-8")
    with pytest.raises(RunFolderError, match="KeyError"):
        load(folder)
