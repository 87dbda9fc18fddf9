"""All datasets of a run taken together: means over them, tests of these, and where nothing is taken together."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from statistics import fmean

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from harness.significance import paired_randomisation
from reports import together
from reports.build import build
from reports.load import Report, load
from reports.queries import averages
from tests.unit.reports.sample_run import write_sample

TWO = ("news", "health")


def renamed(run: Path, dataset: str, system: str = "*", *, kept: int | None = None) -> None:
    """Give the queries of a dataset names of their own, and keep the first so many of them."""
    for file in run.glob(f"{dataset}/{system}/*/per_query.parquet"):
        table = pq.read_table(file)
        own = [f"{dataset}-{qid}" for qid in table["qid"].to_pylist()]
        table = table.set_column(table.schema.get_field_index("qid"), "qid", pa.array(own))
        if kept is not None:
            numbers = [int(qid.rpartition("q")[2]) for qid in own]
            table = table.filter(pa.array([number < kept for number in numbers]))
        pq.write_table(table, file)


@pytest.fixture
def run(tmp_path: Path) -> Path:
    return write_sample(tmp_path / "run", datasets=TWO, slices=False, queries=40)


def of(report: Report) -> together.Chapter:
    found = together.chapter(report)
    assert found is not None
    return found


def test_means_are_those_of_the_datasets_columns(run: Path) -> None:
    report = load(run)
    table = of(report).tables["quality"]
    assert table.heads[:4] == ("System", "news, MRR@5", "health, MRR@5", "Mean Hits@1")
    measures = [head.removeprefix("Mean ") for head in table.heads[3:]]
    for line in table.lines:
        if line.cells[0].text == "dsi-title":
            continue
        rows = [next(r for r in s.rows if r.system == line.cells[0].text) for s in report.sections]
        own = [row.score("RR@5") for row in rows]
        assert [cell.raw for cell in line.cells[1:3]] == [score.value for score in own if score]
        mean = line.cells[3 + measures.index("MRR@5")].raw
        assert mean == pytest.approx(fmean(score.value for score in own if score))
        assert [cell.link for cell in line.cells[1:3]] == [f"{name}/{line.cells[0].text}/0" for name in TWO]
    (best,) = {line.cells[0].text for line in table.lines if line.cells[3].bold}
    ranked = of(report).section.ranked("Success@1")
    assert best == ranked[0].system != "oracle"


def test_a_system_that_failed_somewhere_has_no_mean_and_is_named(run: Path) -> None:
    table = of(load(run)).tables["quality"]
    (line,) = (line for line in table.lines if line.cells[0].text == "dsi-title")
    assert {cell.text for cell in line.cells[1:]} == {"–"}
    assert table.notes == ("Without a result on every dataset, and so without a mean: dsi-title.",)


def test_the_same_query_in_two_datasets_is_one_observation(run: Path) -> None:
    assert {c.n for c in of(load(run)).section.comparisons} == {40}
    renamed(run, "health")
    assert {c.n for c in of(load(run)).section.comparisons} == {80}


def test_p_is_that_of_all_queries_where_the_datasets_have_equally_many(run: Path) -> None:
    renamed(run, "health")
    report = load(run)
    found = of(report).section.compare("self-retrieval", "bm25")
    values = {
        name: [
            v for s in report.sections for v in averages(next(r for r in s.rows if r.system == name))["RR@5"].values()
        ]
        for name in ("self-retrieval", "bm25")
    }
    assert found is not None
    assert found.p == paired_randomisation(values["self-retrieval"], values["bm25"], together.SEED) < 1
    assert found.difference == pytest.approx(fmean(values["self-retrieval"]) - fmean(values["bm25"]))
    assert found.p_holm is not None
    assert found.p_holm >= found.p


def test_each_dataset_counts_alike_however_many_queries_it_has(run: Path) -> None:
    renamed(run, "health", kept=10)
    report = load(run)
    values = {
        name: [averages(next(r for r in s.rows if r.system == name))["RR@5"] for s in report.sections]
        for name in ("self-retrieval", "bm25")
    }
    means = {name: fmean(fmean(part.values()) for part in parts) for name, parts in values.items()}
    found = of(report).section.compare("self-retrieval", "bm25")
    assert found is not None
    assert found.n == 50
    assert found.difference == pytest.approx(means["self-retrieval"] - means["bm25"])


def test_a_system_measured_on_other_queries_is_not_tested_and_named(run: Path) -> None:
    renamed(run, "health", "dense")
    found = of(load(run))
    assert all("dense" not in (c.system, c.baseline) for c in found.section.comparisons)
    assert any(note.endswith("or of the same queries: dense.") for note in found.tables["significance"].notes)


def test_several_seeds_are_averaged_first(tmp_path: Path) -> None:
    found = of(load(write_sample(tmp_path / "run", datasets=TWO, slices=False, queries=20, seeds=(0, 1))))
    assert any(note.startswith("Several seeds") for note in found.tables["significance"].notes)
    assert {c.n for c in found.section.comparisons} == {20}


def test_nothing_is_taken_together_of_one_dataset_or_of_one_collection_in_several_sizes(tmp_path: Path) -> None:
    sizes = ("vital-articles/1k", "vital-articles/2k")
    small = write_sample(tmp_path / "small", datasets=("news",), slices=False, queries=20)
    grown = write_sample(tmp_path / "grown", datasets=sizes, slices=False, queries=20)
    assert together.chapter(load(small)) is None
    assert together.chapter(load(grown)) is None
    assert "All datasets" not in build(grown).read_text()
    more = load(write_sample(tmp_path / "more", datasets=(*sizes, "news"), slices=False, queries=20))
    assert of(more).section.dataset == "the average of 3 datasets"


def test_datasets_that_runs_hold_apart_are_left_out(run: Path) -> None:
    report = load(run)
    first, second = report.sections
    assert together.chapter(replace(report, sections=(first, replace(second, warning="other data")))) is None


def test_page_and_markdown_say_it_first(run: Path) -> None:
    page = build(run).read_text()
    text = (run / "report" / "report.md").read_text()
    assert page.index("On the average of 2 datasets, ") < page.index("On news, ")
    assert page.index('id="all-datasets"') < page.index('id="d-news"')
    assert text.index("On the average of 2 datasets, ") < text.index("On news, ")
    assert text.index("## All datasets") < text.index("## news")
    names = ("quality-all-datasets", "significance-all-datasets", "significance-all-all-datasets")
    assert all(
        (run / "report" / "tables" / f"{name}.{end}").is_file() for name in names for end in ("csv", "md", "tex")
    )
