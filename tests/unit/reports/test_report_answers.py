"""How systems answer, in the report: its table, its marks, its place on the pages; nothing where nobody asked them."""

from __future__ import annotations

import json
from dataclasses import replace

import pytest

from harness.errors import RunFolderError
from reports import answers, marks, tables
from reports.build import build
from reports.load import Cell, Row, Section, load
from tests.unit.reports.sample_run import write_sample

SLUG = "vital-articles-500"


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    folder = write_sample(tmp_path_factory.mktemp("runs") / "sample", slices=False, queries=30, answers=True)
    build(folder)
    return folder


def make(system, family, value, n=10):
    bounds = {f"{m}_{end}": value for m in ("exact_match", "f1") for end in ("low", "high") if n > 1}
    record = {"n": n, "exact_match": value, "f1": value, "gold_passage": 0.5, "refused": 0.0, "rss_peak_bytes": 1e9}
    found = answers.read(record | bounds | {"latency_ms": {"p50": 900.0, "p95": 1000.0}})
    return Row(system, system, family, (Cell(0, "f", "done", "", 1.0, {}, (), (), found),), {})


def lines(*rows):
    return {
        line.cells[0].text: line.cells[1:] for line in answers.table(Section("set", "set", {}, rows, (), "RR@5")).lines
    }


def test_table_holds_what_was_measured_unrounded(folder):
    text = (folder / "report" / "tables" / f"answers-{SLUG}.csv").read_text(encoding="utf-8").splitlines()
    head = "group,System,Exact Match,Exact Match low,Exact Match high,Exact Match mark,F1,F1 low,F1 high,F1 mark,"
    assert text[0] == f"{head}Gold passage,Refused,Latency p50,p95,Peak RSS,Queries,failed"
    assert [line.split(",")[1] for line in text[1:]] == ["dense", "self-retrieval"]
    stored = json.loads((folder / SLUG / "dense" / "0" / "answers.json").read_text(encoding="utf-8"))
    cells = text[1].split(",")
    values = [float(value) for value in (*cells[2:5], *cells[6:9], *cells[10:16])]
    figures = [stored[f"{m}{end}"] for m in ("exact_match", "f1") for end in ("", "_low", "_high")]
    latency = stored["latency_ms"]
    shares = [stored["gold_passage"], stored["refused"], latency["p50"], latency["p95"]]
    assert values == [*figures, *shares, stored["rss_peak_bytes"], 30]


def test_the_best_is_bold_and_marked_where_it_differs_from_the_best_baseline(folder):
    report = load(folder)
    (section,) = report.sections
    found = {line.cells[0].text: line.cells[1:3] for line in tables.tables(report, section)["answers"].lines}
    assert [cell.mark for cell in found["dense"]] == [marks.REFERENCE, marks.REFERENCE]
    assert [cell.mark for cell in found["self-retrieval"]] == ["", marks.BETTER]
    assert [cell.bold for cell in found["self-retrieval"]] == [True, True]
    assert [cell.bold for cell in found["dense"]] == [False, False]
    assert found["dense"][0].small == "[0.220, 0.380]"


def test_the_reference_is_the_best_baseline_and_untested_ones_have_no_mark():
    found = lines(make("one", "dense", 0.3), make("two", "dense", 0.4), make("sr", "self-retrieval", 0.9))
    assert {system: cells[0].mark for system, cells in found.items()} == {"one": "", "two": marks.REFERENCE, "sr": ""}
    alone = lines(make("sr", "self-retrieval", 0.9, n=1))
    assert (alone["sr"][0].mark, alone["sr"][0].small, alone["sr"][0].text) == ("", "", "0.900")


def test_pages_show_it_after_cost_and_before_figures(folder):
    page = (folder / "report" / "index.html").read_text(encoding="utf-8")
    places = [
        page.index(words) for words in (f"cost-{SLUG}: ", "<h3>Answers</h3>", f"answers-{SLUG}: ", "<h3>Figures</h3>")
    ]
    assert places == sorted(places)
    assert "as in Table 5, Tang et al. 2024" in page
    text = (folder / "report" / "report.md").read_text(encoding="utf-8")
    assert text.index("**Cost on") < text.index("**Answers on") < text.index("![")
    assert "Exact Match" in (folder / "report" / "tables" / f"answers-{SLUG}.tex").read_text(encoding="utf-8")


def test_tests_of_answers_stay_out_of_the_tables_of_retrieval(folder):
    text = (folder / "report" / "tables" / f"significance-all-{SLUG}.csv").read_text(encoding="utf-8")
    assert "exact_match" not in text and "f1" not in text


def test_a_run_without_answers_says_nothing_of_them(tmp_path):
    report = load(write_sample(tmp_path / "run", slices=False, queries=10))
    (section,) = report.sections
    assert "answers" not in tables.tables(report, section)
    assert section.answering == ()


def test_of_several_seeds_and_other_queries_it_is_said(tmp_path):
    folder = write_sample(tmp_path / "run", seeds=(0, 1), slices=False, queries=10, answers=True)
    path = folder / SLUG / "dense" / "0" / "answers.json"
    path.write_text(json.dumps(json.loads(path.read_text(encoding="utf-8")) | {"n": 7}), encoding="utf-8")
    report = load(folder)
    notes = tables.tables(report, report.sections[0])["answers"].notes
    assert any("first seed" in note for note in notes)
    assert any("other queries" in note for note in notes)


def test_a_broken_file_is_named(tmp_path):
    folder = write_sample(tmp_path / "run", slices=False, queries=10, answers=True)
    (folder / SLUG / "dense" / "0" / "answers.json").write_text('{"n": 3}', encoding="utf-8")
    with pytest.raises(RunFolderError, match="exact_match"):
        load(folder)


def test_untested_differences_are_said_to_be_untested(folder):
    (section,) = load(folder).sections
    assert answers.table(section).caption.endswith(marks.LEGEND)
    apart = answers.table(replace(section, answering=())).caption
    assert "▲" not in apart and apart.endswith("differences from it were not tested here.")
