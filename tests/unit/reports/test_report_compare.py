"""Several runs in one report: joined only where the data are the same, and tested on the queries they share."""

from __future__ import annotations

import json

import pytest

from harness.cli import main
from harness.errors import ConfigError
from harness.store import CellFolder
from reports import build as report_build
from reports import compare, tables
from reports.load import Comparison, load
from reports.summary import limits
from tests.unit.reports.sample_run import write_sample

WORSE = {"bm25": 0.42, "dense": 0.1, "self-retrieval": 0.53, "oracle": 1.0}
DATASET = "vital-articles/500"


def change(folder, edit):
    path = folder / "experiment.json"
    record = json.loads(path.read_text(encoding="utf-8"))
    edit(record)
    path.write_text(json.dumps(record), encoding="utf-8")


def two(tmp_path, **other):
    kept = {
        "quality": {"bm25": 0.42, "dense": 0.8, "self-retrieval": 0.53, "oracle": 1.0},
        "failed": {},
        "slices": False,
    }
    one = write_sample(tmp_path / "one", **kept)
    return one, write_sample(tmp_path / "two", **kept | {"quality": WORSE} | other)


def merged(tmp_path, *folders):
    return compare.merge([load(folder) for folder in folders], folders, tmp_path / "out")


@pytest.fixture
def quick(monkeypatch):
    monkeypatch.setattr(report_build.figures, "draw", lambda *_: ())


def test_systems_are_named_by_run_and_data_with_one_checksum_are_joined(tmp_path):
    (section,) = merged(tmp_path, *two(tmp_path)).sections
    assert section.dataset == DATASET
    assert section.warning == ""
    assert [r.system for r in section.rows if r.family == "dense"] == ["one: dense", "two: dense"]
    assert section.rows[0].cells[0].folder == "../one/vital-articles-500/bm25/0"


def test_the_same_system_of_two_runs_is_tested(tmp_path):
    (section,) = merged(tmp_path, *two(tmp_path)).sections
    found = section.compare("two: dense", "one: dense")
    scores = {r.system: r.score("RR@5").value for r in section.rows}
    assert found.difference == pytest.approx(scores["two: dense"] - scores["one: dense"])
    assert found.significant
    assert found.p < found.p_holm
    same = section.compare("two: bm25", "one: bm25")
    assert (same.difference, same.p) == (0.0, 1.0)
    assert not any("oracle" in c.system or "oracle" in c.baseline for c in section.comparisons if c.p != 1.0)
    words = " ".join(compare.sentences(merged(tmp_path, tmp_path / "one", tmp_path / "two"))[DATASET])
    assert "one: dense 0." in words
    assert "two: bm25 " in words
    assert "(±0.000, p\u202f=\u202f1.000, not significant)" in words


def test_every_later_run_is_tested_against_the_first(tmp_path):
    one, other = two(tmp_path)
    third = write_sample(tmp_path / "three", quality=WORSE | {"dense": 0.05}, failed={}, slices=False)
    report = merged(tmp_path, one, other, third)
    (section,) = report.sections
    pairs = {(c.system, c.baseline) for c in section.comparisons}
    for later in ("two", "three"):
        assert (f"{later}: self-retrieval", "one: self-retrieval") in pairs
    assert ("three: self-retrieval", "two: self-retrieval") not in pairs
    dense = next(said for said in compare.sentences(report)[DATASET] if said.startswith("one: dense"))
    assert dense.count(", p\u202f=\u202f0.0") == 2
    assert "not tested" not in dense


@pytest.mark.parametrize(
    ("change", "reason"),
    [
        (lambda cell: (cell.path / "per_query.parquet").unlink(), "nothing of three: dense is kept query by query"),
        (
            lambda cell: cell.write_per_query(
                {m: {f"other {qid}": v for qid, v in values.items()} for m, values in cell.per_query().items()}
            ),
            "they were measured on different queries",
        ),
    ],
)
def test_a_missing_test_is_told_with_its_cause(tmp_path, change, reason):
    one, other = two(tmp_path)
    third = write_sample(tmp_path / "three", quality=WORSE, failed={}, slices=False)
    change(CellFolder(third / "vital-articles-500" / "dense" / "0"))
    words = compare.sentences(merged(tmp_path, one, other, third))[DATASET]
    dense = next(said for said in words if said.startswith("one: dense"))
    assert dense.endswith(f"(not tested: {reason}).")
    assert " ".join(words).count("not tested") == 1


def test_a_test_without_p_value_is_not_called_insignificant(tmp_path, monkeypatch):
    pair = Comparison("two: dense", "one: dense", "RR@5", -0.2, None, None, 120)
    monkeypatch.setattr(compare, "paired", lambda *_: (pair,))
    words = " ".join(compare.sentences(merged(tmp_path, *two(tmp_path)))[DATASET])
    assert "(−0.200, not tested on every seed)" in words


def test_runs_of_a_seed_each_know_nothing_of_the_spread(tmp_path):
    report = merged(tmp_path, *two(tmp_path, seeds=(1,)))
    assert report.seeds == (0, 1)
    assert limits(report)[0].startswith("One seed a system (0, 1): how far figures vary from seed to seed is unknown")
    caption = tables.quality(report, report.sections[0]).caption
    assert "averaged over the seeds" not in caption


def test_runs_of_several_seeds_are_averaged_and_tested_once(tmp_path):
    report = merged(tmp_path, *two(tmp_path, seeds=(0, 1)))
    (section,) = report.sections
    assert "the spread over up to 2 seeds" in limits(report)[0]
    assert "averaged over the seeds" in tables.quality(report, section).caption
    table = tables.significance(section, (section.primary,))
    assert f"over all {len(section.comparisons)} comparisons of this dataset" in table.caption
    assert table.notes == ("Several seeds: values are averaged over them query by query, then tested once.",)


def test_other_data_of_one_name_are_shown_apart_with_a_warning(tmp_path):
    one, other = two(tmp_path)
    change(other, lambda record: record["datasets"][DATASET].update(checksum="ab" * 32))
    sections = merged(tmp_path, one, other).sections
    assert [s.dataset for s in sections] == [f"{DATASET} (one)", f"{DATASET} (two)"]
    for section in sections:
        assert "one: checksum 9f9f9f9f, 120 test queries; two: checksum abababab, 120 test queries" in section.warning
        assert len({row.system.partition(":")[0] for row in section.rows}) == 1
        assert all(c.system[:3] == c.baseline[:3] for c in section.comparisons)


@pytest.mark.parametrize("lacks", ["checksum", "split", "queries"])
def test_without_checksum_or_with_other_queries_nothing_is_joined(tmp_path, lacks):
    one, other = two(tmp_path, queries=90 if lacks == "queries" else 120)
    if lacks == "checksum":
        for folder in (one, other):
            change(folder, lambda record: record["datasets"][DATASET].pop("checksum"))
    elif lacks == "split":
        change(other, lambda record: record.update(split="dev"))
    assert [bool(s.warning) for s in merged(tmp_path, one, other).sections] == [True, True]


def test_a_dataset_of_one_run_alone_needs_no_warning(tmp_path):
    one, _ = two(tmp_path)
    other = write_sample(tmp_path / "three", datasets=("other/set",), slices=False, queries=20)
    report = merged(tmp_path, one, other)
    assert [(s.dataset, s.warning) for s in report.sections] == [(DATASET, ""), ("other/set", "")]
    assert "took part in more than one run" in compare.sentences(report)[DATASET][0]


def test_runs_of_one_name_are_told_apart(tmp_path):
    one, other = two(tmp_path)
    for folder in (one, other):
        change(folder, lambda record: record.update(name="standard"))
    reports = [load(one), load(other)]
    assert compare.run_names(reports, (one, other)) == ["one", "two"]
    assert compare.run_names(reports, (one / "x", other / "x")) == ["run 1", "run 2"]


def test_other_machines_and_measures_are_said(tmp_path):
    one, other = two(tmp_path)
    plain = merged(tmp_path, one, other)
    assert (plain.warnings, len(plain.sections[0].machines)) == ((), 1)
    for folder, driver in ((one, "550.54"), (other, "535.104")):
        change(folder, lambda record, d=driver: record["environment"].update(gpus=[f"NVIDIA A100, 81559 MiB, {d}"]))
    assert len(merged(tmp_path, one, other).sections[0].machines) == 1
    change(other, lambda record: record["environment"].update(gpus=["NVIDIA H100, 81559 MiB, 550.54"]))
    assert "NVIDIA H100" in merged(tmp_path, one, other).warnings[0]
    change(other, lambda record: record.update(primary="R@10"))
    change(other, lambda record: record["environment"]["cpu"].update(model="Another CPU"))
    report = merged(tmp_path, one, other)
    assert len(report.sections[0].machines) == 2
    assert report.primary == "RR@5"
    assert "Another CPU" in report.warnings[0]
    assert "MRR@5, that of one, is shown" in report.warnings[1]
    assert all(section.primary == "RR@5" for section in report.sections)
    change(other, lambda record: record["datasets"][DATASET].update(checksum="ab" * 32))
    assert [len(section.machines) for section in merged(tmp_path, one, other).sections] == [1, 1]


def test_the_command_writes_one_page_again_and_again(tmp_path, quick, capsys):
    one, other = two(tmp_path)
    out = tmp_path / "out"
    for _ in range(2):
        assert main(["compare", str(one), str(other), "--out", str(out)]) == 0
    assert capsys.readouterr().out.splitlines()[-1] == str(out / "index.html")
    text = (out / "index.html").read_text(encoding="utf-8")
    assert "<title>one and two compared" in text
    assert "two: dense" in text
    assert 'href="../one/vital-articles-500/bm25/0/"' in text
    assert sorted(p.name for p in out.iterdir()) == ["figures", "index.html", "report.md", "tables"]


def test_paths_that_are_no_utf_8_are_refused_or_shown_as_they_can_be(tmp_path, quick, capsys):
    one, other = two(tmp_path)
    change(other, lambda record: record.update(name="one"))
    odd = one.rename(tmp_path / "on\udce9")
    assert main(["compare", str(odd), str(other), "--out", str(tmp_path / "out")]) == 2
    assert "the path of a run folder in UTF-8" in capsys.readouterr().err
    link = tmp_path / "one"
    link.symlink_to(odd)
    assert main(["compare", str(link), str(other), "--out", str(tmp_path / "ou\udce9")]) == 0
    assert "udce9: dense" in (tmp_path / "ou\udce9" / "report.md").read_text(encoding="utf-8")


def test_a_folder_with_other_things_in_it_is_left_alone(tmp_path):
    one, other = two(tmp_path)
    for out, what in ((one, "experiment.json"), (one / "experiment.json", "the file")):
        with pytest.raises(ConfigError, match=what):
            compare.build([one, other], out)
    with pytest.raises(ConfigError, match="two or more"):
        compare.build([one], tmp_path / "out")
    assert (one / "experiment.json").is_file()
