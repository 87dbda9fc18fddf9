"""All datasets of a run taken together: means over them, tests of these, and where nothing is taken together."""

from __future__ import annotations

import json
import shutil
from collections.abc import Sequence
from pathlib import Path
from statistics import fmean

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from harness.significance import compare, paired_randomisation
from harness.store import CellFolder
from reports import queries, tables, together
from reports.build import build
from reports.load import Report, Row, load
from reports.units import score
from tests.unit.reports.sample_run import QUALITY, measures_of, write_sample

TWO = ("news", "health")
PLAIN = [system for system, quality in QUALITY.items() if quality not in (1.0, 0.004)]


def made(
    folder: Path, datasets: Sequence[str] = TWO, *, n: int = 40, seeds: Sequence[int] = (0,), data: bool = False
) -> Path:
    """Write a run without failing systems, whose datasets have values of their own."""
    run = write_sample(folder, datasets=datasets, failed={}, slices=False, queries=n, seeds=seeds, data=data)
    results = json.loads((run / "results.json").read_text())
    for number, dataset in enumerate(datasets[1:], 1):
        for file in sorted(run.glob(f"{dataset.replace('/', '-')}/*/*/per_query.parquet")):
            system, seed = file.parts[-3], int(file.parts[-2])
            ranks = np.random.default_rng([number, seed, *system.encode()]).geometric(0.8 * QUALITY[system], n)
            values = measures_of(ranks)
            write(file, {m: {f"q{i}": float(v) for i, v in enumerate(column)} for m, column in values.items()})
            for row in results:
                if (row["dataset"], row["system"], row["seed"]) == (dataset, system, seed):
                    row["value"] = float(values[row["measure"]].mean())
    (run / "results.json").write_text(json.dumps(results))
    return run


def write(file: Path, values: dict[str, dict[str, float]]) -> None:
    long = [(qid, measure, value) for measure, own in values.items() for qid, value in own.items()]
    qids, names, figures = zip(*long, strict=True)
    pq.write_table(pa.table({"qid": list(qids), "measure": list(names), "value": list(figures)}), file)


def cut(run: Path, dataset: str, kept: int, system: str = "*") -> None:
    """Keep the first queries of a dataset alone, where values stand query by query and in results.json."""
    results = json.loads((run / "results.json").read_text())
    for file in run.glob(f"{dataset}/{system}/*/per_query.parquet"):
        values = CellFolder(file.parent).per_query()
        few = {m: {qid: v for qid, v in own.items() if int(qid[1:]) < kept} for m, own in values.items()}
        write(file, few)
        for row in results:
            if (row["dataset"], row["system"]) == (dataset, file.parts[-3]):
                row |= {"value": fmean(few[row["measure"]].values()), "n": kept}
    (run / "results.json").write_text(json.dumps(results))


def fail(run: Path, cell: str) -> None:
    status = run / cell / "status.json"
    status.write_text(json.dumps(json.loads(status.read_text()) | {"state": "failed", "reason": "no room"}))


def maybe(report: Report) -> together.Chapter | None:
    return together.chapter(report, [queries.read(section) for section in report.sections])


def of(run: Path) -> together.Chapter:
    found = maybe(load(run))
    assert found is not None
    return found


def row(report: Report, dataset: str, system: str) -> Row:
    (section,) = (s for s in report.sections if s.dataset == dataset)
    return next(r for r in section.rows if r.system == system)


def value(report: Report, dataset: str, system: str, measure: str = "RR@5") -> float:
    found = row(report, dataset, system).score(measure)
    assert found is not None
    return found.value


def values(report: Report, system: str, seed: int = 0) -> list[list[float]]:
    folders = [next(c.path for c in row(report, d, system).cells if c.seed == seed) for d in TWO]
    return [list(CellFolder(folder).per_query()["RR@5"].values()) for folder in folders]


@pytest.fixture
def run(tmp_path: Path) -> Path:
    return made(tmp_path / "run")


def test_the_columns_are_those_of_the_datasets_and_their_means(run: Path) -> None:
    report = load(run)
    table = of(run).tables["quality"]
    assert table.heads[:4] == ("System", "news, MRR@5", "health, MRR@5", "Mean Hits@1")
    at = table.heads.index("Mean MRR@5")
    for line in table.lines:
        name = line.cells[0].text
        own = [value(report, dataset, name) for dataset in TWO]
        assert own[0] != own[1] or name == "oracle"
        assert [cell.raw for cell in line.cells[1:3]] == own
        assert line.cells[at].raw == pytest.approx(fmean(own))
        assert [cell.link for cell in line.cells[1:3]] == [f"{dataset}/{name}/0" for dataset in TWO]
    means = {line.cells[0].text: line.cells[at].raw or 0.0 for line in table.lines if line.cells[0].text in PLAIN}
    (best,) = [line.cells[0].text for line in table.lines if line.cells[at].bold]
    assert means[best] == max(means.values())


def test_marks_are_those_of_each_column_against_its_own_baseline(tmp_path: Path) -> None:
    run = made(tmp_path / "run", n=120)
    chapter, report = of(run), load(run)
    table = chapter.tables["quality"]
    own = tables.quality(report, report.sections[0])
    at, mean = own.heads.index("MRR@5"), table.heads.index("Mean MRR@5")
    assert [line.cells[1].mark for line in table.lines] == [line.cells[at].mark for line in own.lines]
    marks = {line.cells[0].text: line.cells[mean].mark for line in table.lines}
    (reference,) = [name for name, mark in marks.items() if mark == "†"]
    baselines = [name for name in PLAIN if name != "self-retrieval"]
    assert reference == max(baselines, key=lambda name: fmean(value(report, d, name) for d in TWO))
    worse = {c.system for c in chapter.section.comparisons if c.measure == "RR@5" and c.baseline == reference}
    worse = {name for name in worse if (found := chapter.section.compare(name, reference)) and found.significant}
    assert {name for name, mark in marks.items() if mark in "▲▼" and mark} == worse >= {"dsi"}


def test_a_system_that_failed_on_one_dataset_has_no_mean_and_is_named(run: Path) -> None:
    fail(run, "health/dense-tuned/0")
    report, chapter = load(run), of(run)
    (line,) = (line for line in chapter.tables["quality"].lines if line.cells[0].text == "dense-tuned")
    assert line.cells[1].text == score(value(report, "news", "dense-tuned"))
    assert {cell.text for cell in line.cells[2:]} == {"–"}
    said = "Without a mean, for want of a result on one dataset or more: dense-tuned."
    assert said in chapter.tables["quality"].notes
    assert chapter.sentences[-1] == said
    assert all("dense-tuned" not in (c.system, c.baseline) for c in chapter.section.comparisons)


def test_p_is_that_of_all_queries_where_the_datasets_have_equally_many(run: Path) -> None:
    report, found = load(run), of(run).section.compare("self-retrieval", "bm25")
    ours, theirs = ([v for part in values(report, name) for v in part] for name in ("self-retrieval", "bm25"))
    assert found is not None
    assert found.p == paired_randomisation(ours, theirs, 0) < 1
    assert found.difference == pytest.approx(fmean(ours) - fmean(theirs))
    assert found.n == 80
    assert found.p_holm is not None
    assert found.p_holm >= found.p


def test_each_dataset_counts_alike_however_many_queries_it_has(run: Path) -> None:
    cut(run, "health", 10)
    report, chapter = load(run), of(run)
    means = {name: fmean(map(fmean, values(report, name))) for name in ("self-retrieval", "bm25")}
    found = chapter.section.compare("self-retrieval", "bm25")
    assert found is not None
    assert found.n == 50
    assert found.difference == pytest.approx(means["self-retrieval"] - means["bm25"])
    assert "(news 40, health 10)" in chapter.tables["quality"].caption


def test_the_same_words_asked_in_two_datasets_are_one_observation(tmp_path: Path) -> None:
    asked = made(tmp_path / "asked", data=True)
    assert {c.n for c in of(asked).section.comparisons} == {40}
    shutil.rmtree(asked / "health" / "data")
    assert {c.n for c in of(asked).section.comparisons} == {80}


def test_the_odd_one_measured_on_other_queries_is_not_tested(run: Path) -> None:
    cut(run, "health", 39, "bm25")
    assert {name for c in of(run).section.comparisons for name in (c.system, c.baseline)} == set(PLAIN) - {"bm25"}


def test_of_several_seeds_each_is_tested_and_the_largest_p_shown(tmp_path: Path) -> None:
    run = made(tmp_path / "run", seeds=(0, 1))
    report, chapter = load(run), of(run)
    found = chapter.section.compare("self-retrieval", "dsi")
    families = {name: row(report, "news", name).family for name in ("self-retrieval", "dsi")}
    each = []
    for seed in (0, 1):
        named = {}
        for name in families:
            pooled = [v for part in values(report, name, seed) for v in part]
            named[name] = {"RR@5": {str(number): v for number, v in enumerate(pooled)}}
        each += compare(named, families, dataset="", split="", seed=seed)
    assert found is not None
    assert found.p == max(pair["p"] for pair in each)
    assert found.difference == pytest.approx(fmean(pair["difference"] for pair in each))
    assert tables.SEED_NOTE in chapter.tables["significance"].notes


def test_a_failed_seed_is_told_and_leaves_no_p(tmp_path: Path) -> None:
    run = made(tmp_path / "run", seeds=(0, 1))
    fail(run, "health/dsi/1")
    chapter = of(run)
    found = chapter.section.compare("self-retrieval", "dsi")
    assert found is not None
    assert found.p is None
    assert "health: dsi: 1 of 2 seeds without a result (no room)." in chapter.tables["quality"].notes


def test_of_a_collection_in_several_sizes_the_largest_with_scores_counts(tmp_path: Path) -> None:
    sizes = ("vital-articles/1k", "vital-articles/2k")
    grown = made(tmp_path / "grown", sizes, n=20)
    assert maybe(load(grown)) is None
    assert "All datasets" not in build(grown).read_text()
    more = made(tmp_path / "more", (*sizes, "news", "health"), n=20)
    assert of(more).section.dataset == "the average of 3 datasets"
    assert of(more).tables["quality"].notes == ("Left out: vital-articles/1k (a smaller vital-articles/2k).",)
    for name in QUALITY:
        fail(more, f"health/{name}/0")
    (note,) = (note for note in of(more).tables["quality"].notes if note.startswith("Left out"))
    assert note == "Left out: health (without scores), vital-articles/1k (a smaller vital-articles/2k)."
    for name in QUALITY:
        fail(more, f"news/{name}/0")
    assert maybe(load(more)) is None


def test_nothing_is_taken_together_of_one_dataset_or_one_system(tmp_path: Path, run: Path) -> None:
    assert maybe(load(made(tmp_path / "small", ("news",), n=20))) is None
    for name in set(PLAIN) - {"bm25"}:
        fail(run, f"health/{name}/0")
    assert maybe(load(run)) is None


def test_page_and_markdown_say_it_first_and_bold_survives_a_link(run: Path) -> None:
    page, text = build(run).read_text(), (run / "report" / "report.md").read_text()
    assert page.index("On the average of 2 datasets, ") < page.index("On news, ")
    assert page.index('id="together"') < page.index('id="d-news"')
    assert text.index("On the average of 2 datasets, ") < text.index("On news, ")
    assert text.index("## All datasets") < text.index("## news")
    names = ("together-quality", "together-significance", "together-significance-all")
    assert all(
        (run / "report" / "tables" / f"{name}.{end}").is_file() for name in names for end in ("csv", "md", "tex")
    )
    (own,) = (part for part in page.split("</table>") if 'id="t-together-quality"' in part)
    assert own.count('<strong><a href="../') == 2
    assert "comparisons of this average" in page
