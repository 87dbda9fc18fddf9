"""TREC files out of one run and into another, through the command line: the measures stay the same."""

from __future__ import annotations

import gzip
import json
from collections.abc import Mapping
from itertools import pairwise
from pathlib import Path
from typing import Any

import ir_measures
import pytest

from harness import cli, kept
from harness.datasets.stored import open_folder
from harness.display import PlainDisplay
from harness.errors import RunFolderError
from harness.export import export
from harness.records import Cell
from harness.store import RunFolder
from tests.e2e.trial import files

WORDS = ["otter", "badger", "heron", "hedgehog", "bat", "swift", "newt", "toad", "vole", "stoat", "hare", "lynx"]
QUERIES = {f"q{i}": f"{word} burrow" for i, word in enumerate(WORDS[:8])} | {"q8": "unheard of", "q9": "burrow"}
"""Passages tie where they share "burrow" alone; one query finds nothing."""
EXPERIMENT = """
name = "base"
[latency]
queries = 2
[datasets."beir:animals"]
[systems.bm25]
[systems.random]
"""


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with a set of twelve animals, the experiment, its run and what was exported from it."""
    folder = tmp_path_factory.mktemp("outside")
    (folder / "animals" / "qrels").mkdir(parents=True)
    corpus = [{"_id": f"d{i}%20", "text": f"the {word} in its burrow"} for i, word in enumerate(WORDS)]
    queries = [{"_id": qid, "text": text} for qid, text in QUERIES.items()]
    (folder / "animals" / "corpus.jsonl").write_text("".join(json.dumps(row) + "\n" for row in corpus))
    (folder / "animals" / "queries.jsonl").write_text("".join(json.dumps(row) + "\n" for row in queries))
    judged = [f"q{i} 0 d{i}%20 2\nq{i} 0 d{i + 2}%20 1\nq{i} 0 d{i + 1}%20 0\n" for i in range(10)]
    (folder / "animals" / "qrels" / "test.qrels").write_text("".join(judged))
    (folder / "base.toml").write_text(EXPERIMENT)
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(folder)
        assert cli.main(["run", "base.toml", "--no-report"]) == 0
        assert cli.main(["export", "runs/base", "trec"]) == 0
    return folder


@pytest.fixture(autouse=True)
def inside(place: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(place)


def means(folder: str, system: str) -> dict[tuple[str, str], float]:
    rows = RunFolder(Path(folder)).results()
    return {(row["slice"], row["measure"]): row["value"] for row in rows if row["system"] == system}


def cell(folder: str, system: str, dataset: str = "animals") -> Path:
    return RunFolder(Path(folder)).cell_folder(dataset, system, 0)


def test_exported_files_give_the_measures_wherever_they_are_read(place: Path) -> None:
    assert sorted(files(place / "trec")) == [
        "animals/qrels.test.trec",
        "animals/runs/bm25.0.trec",
        "animals/runs/random.0.trec",
    ]
    qrels = list(ir_measures.read_trec_qrels("trec/animals/qrels.test.trec"))
    assert len(qrels) == 30
    stored = RunFolder(place / "runs/base").run(RunFolder(place / "runs/base").cells()[0])
    # The tie rules of the tools differ, so the test needs ties; and a query nobody finds anything for.
    assert any(a.score == b.score for hits in stored.values() for a, b in pairwise(hits))
    assert "q8" not in stored
    for system in ("bm25", "random"):
        run = list(ir_measures.read_trec_run(f"trec/animals/runs/{system}.0.trec"))
        ours = {measure: value for (part, measure), value in means("runs/base", system).items() if part == "all"}
        found = ir_measures.calc_aggregate(list(map(ir_measures.parse_measure, ours)), qrels, run)
        assert {repr(measure): value for measure, value in found.items()} == pytest.approx(ours, abs=1e-12)
    assert 0 < means("runs/base", "bm25")["all", "nDCG@10"] < 1


def test_by_title_the_first_passage_of_a_title_and_its_best_grade_count(place: Path) -> None:
    rows = [("a.0", "Ant", "an ant in a hole"), ("a.1", "Ant", "an ant digs"), ("b.0", "Bee", "a bee in a hive digs")]
    rows += [("c.0", "", "a hole in the hive, digs")]
    (place / "titled" / "qrels").mkdir(parents=True)
    corpus = [{"_id": i, "title": title, "text": text, "document": i[0]} for i, title, text in rows]
    (place / "titled" / "corpus.jsonl").write_text("".join(json.dumps(row) + "\n" for row in corpus))
    (place / "titled" / "queries.jsonl").write_text('{"_id": "q", "text": "ant hole hive digs"}\n')
    (place / "titled" / "qrels" / "test.qrels").write_text("q 0 a.1 2\nq 0 a.0 1\nq 0 b.0 0\n")
    settings = EXPERIMENT.replace("animals", "titled").replace("queries = 2", "queries = 1")
    (place / "titled.toml").write_text(settings)
    assert cli.main(["run", "titled.toml", "--out", "runs/titled", "--no-report"]) == 0
    for unit, names in (("title", ["Ant", "Bee", "c.0"]), ("document", ["a", "b", "c"])):
        assert cli.main(["export", "runs/titled", f"by-{unit}", "--by", unit]) == 0
        judged = Path(f"by-{unit}/titled/qrels.test.trec").read_text().splitlines()
        assert judged == [f"q 0 {names[0]} 2", f"q 0 {names[1]} 0"]
        hits = RunFolder(Path("runs/titled")).run(RunFolder(Path("runs/titled")).cells()[0])["q"]
        order = list(dict.fromkeys(names["abc".index(hit.docid[0])] for hit in hits))
        lines = [line.split() for line in Path(f"by-{unit}/titled/runs/bm25.0.trec").read_text().splitlines()]
        assert [line[2] for line in lines] == order
        assert sorted(order) == names
        assert len(hits) == 4
        first = {name: hit.score for hit in reversed(hits) for name in [names["abc".index(hit.docid[0])]]}
        assert [float(line[4]) for line in lines] == pytest.approx([first[name] for name in order])
    assert cli.main(["export", "runs/titled", "by-what", "--by", "chapter"]) == 2


@pytest.fixture(scope="module")
def joined(place: Path) -> Path:
    """A run that the exported hits of bm25 take part in, packed, and its report."""
    packed = gzip.compress((place / "trec/animals/runs/bm25.0.trec").read_bytes())
    (place / "other.gz").write_bytes(packed)
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(place)
        assert cli.main(["run", "base.toml", "--run", "other=other.gz", "--out", "runs/joined"]) == 0
    return place / "runs/joined"


@pytest.mark.usefixtures("joined")
class TestJoined:
    """Hits that came from outside beside the system they came from."""

    def test_every_measure_is_the_same_and_no_difference_is_found(self) -> None:
        assert means("runs/joined", "other") == means("runs/joined", "bm25") == means("runs/base", "bm25")
        pairs = [row for row in RunFolder(Path("runs/joined")).significance() if row["system"] == "other"]
        assert {(row["baseline"], row["difference"], row["p"]) for row in pairs} == {("bm25", 0.0, 1.0)}
        assert len(pairs) == 8

    def test_its_files_are_those_of_any_cell_and_hold_no_figure_that_was_not_measured(self) -> None:
        own, theirs = cell("runs/joined", "other"), cell("runs/joined", "bm25")
        assert {p.name for p in own.iterdir()} == {
            "spec.json",
            "run.trec.gz",
            "per_query.parquet",
            "meter.json",
            "status.json",
        }
        run = RunFolder(Path("runs/joined"))
        hits = {system: run.run(c) for c in run.cells() for system in [c.system]}
        assert {q: [h.docid for h in found] for q, found in hits["other"].items()} == {
            q: [h.docid for h in found] for q, found in hits["bm25"].items()
        }
        assert json.loads((own / "meter.json").read_text()) == {"hits": sum(map(len, hits["bm25"].values()))}
        assert json.loads((own / "spec.json").read_text())["settings"]["file"] == "other.gz"
        assert (theirs / "model").is_dir()

    def test_the_report_shows_it_and_says_what_is_not_known(self) -> None:
        text = (Path("runs/joined/report/report.md")).read_text()
        assert "| outside | [other](../animals/other/0/) |" in text
        assert Path("runs/joined/animals/other/0").is_dir()
        assert "Outside runs, of which nothing but the hits is known: other." in text
        assert "its hits were read from other.gz (SHA-256 " in text
        assert "1 of 10 queries have no hit in the file and count as 0" in text

    def test_it_cannot_be_asked_and_is_kept_with_the_others(self, capfd: pytest.CaptureFixture[str]) -> None:
        assert cli.main(["search", "runs/joined", "heron", "--systems", "other,bm25"]) == 0
        assert "other — is an outside run" in capfd.readouterr().out
        assert cli.main(["search", "runs/joined", "heron"]) == 0
        assert "other" not in capfd.readouterr().out
        found = kept.keep(Path("runs/joined"), Path("kept.json"))
        assert {c["system"]: c["family"] for c in found}["other"] == "outside"

    def test_it_is_reused_until_the_file_changes(self, capfd: pytest.CaptureFixture[str]) -> None:
        command = ["run", "base.toml", "--out", "runs/joined", "--no-report"]
        before = means("runs/joined", "other")
        Path("renamed.trec").write_bytes(Path("trec/animals/runs/bm25.0.trec").read_bytes())
        assert cli.main([*command, "--run", "other=other.gz"]) == 0
        assert "3 done (3 reused), 0 failed" in capfd.readouterr().out
        lines = Path("renamed.trec").read_text().splitlines(keepends=True)
        Path("renamed.trec").write_text("".join(line for line in lines if not line.startswith("q0 ")))
        assert cli.main([*command, "--run", "other=renamed.trec"]) == 0
        assert "3 done (2 reused), 0 failed" in capfd.readouterr().out
        assert means("runs/joined", "other")["all", "RR@5"] == pytest.approx(before["all", "RR@5"] - 1 / 10)
        assert cli.main([*command, "--run", "other=other.gz"]) == 0
        assert means("runs/joined", "other") == before

    @pytest.mark.parametrize(
        ("options", "said"),
        [
            (["--run", "other=bad.trec"], "bad.trec:2"),
            (["--run", "other=absent.trec"], "no such file"),
            (["--run", "other=animals/qrels/test.qrels"], "six columns"),
            (["--run", "bm25=other.gz"], "'bm25'"),
            (["--run", "other"], "NAME@DATASET=FILE"),
            (["--run", "other@fiqa=other.gz"], "known: beir:animals"),
        ],
    )
    def test_what_cannot_be_used_is_refused_and_nothing_is_lost(
        self, options: list[str], said: str, capfd: pytest.CaptureFixture[str]
    ) -> None:
        good = Path("trec/animals/runs/bm25.0.trec").read_text()
        Path("bad.trec").write_text(good.replace("\n", " t\n", 2).replace(" t\n", "\n", 1))
        before = files(Path("runs/joined"))
        assert cli.main(["run", "base.toml", "--out", "runs/joined", *options]) == 2
        err = capfd.readouterr().err
        assert said in err
        assert "Traceback" not in err
        assert files(Path("runs/joined")) == before


def test_a_file_that_changes_under_way_fails_its_cell_alone(monkeypatch: pytest.MonkeyPatch) -> None:
    started = PlainDisplay.started

    def change(self: PlainDisplay, cell: Cell) -> None:
        Path("fleeting.trec").write_text("q1 Q0 d1%20 1 1 t\n")
        started(self, cell)

    Path("fleeting.trec").write_text("q1 Q0 d1%20 1 2 t\n")
    monkeypatch.setattr(PlainDisplay, "started", change)
    code = cli.main(
        ["run", "base.toml", "--run", "other=fleeting.trec", "--out", "runs/fleeting", "--systems", "random"]
    )
    assert code == 1
    found = {c.system: RunFolder(Path("runs/fleeting")).status(c) for c in RunFolder(Path("runs/fleeting")).cells()}
    states = {system: status["state"] for system, status in found.items() if status}
    assert states == {"random": "done", "other": "failed"}
    assert found["other"] and "a file that does not change" in str(found["other"]["reason"])


def test_a_run_may_be_there_for_one_of_several_datasets(place: Path, capfd: pytest.CaptureFixture[str]) -> None:
    (place / "plants").mkdir()
    for name, text in files(place / "animals").items():
        (place / "plants" / name).parent.mkdir(exist_ok=True)
        (place / "plants" / name).write_bytes(text)
    (place / "two.toml").write_text(
        'name = "two"\nseeds = [0, 1]\n[datasets."beir:animals"]\n[datasets."beir:plants"]\n[systems.random]\n'
        '[runs.other.files]\nplants = "trec/animals/runs/bm25.0.trec"\n'
    )
    assert cli.main(["run", "two.toml", "--run", "third=other.gz"]) == 2
    assert "--run third@beir:animals=FILE --run third@beir:plants=FILE" in capfd.readouterr().err
    assert not (place / "runs/two").exists()
    assert cli.main(["run", "two.toml"]) == 0
    assert "plan: 6 cells\n" in capfd.readouterr().out
    record = RunFolder(place / "runs/two").experiment()
    assert [c["dataset"] for c in record["cells"] if c["system"] == "other"] == ["plants", "plants"]
    assert any(note.startswith("An outside run is one file") for note in record["notes"])
    assert cli.main(["export", "runs/two", "out/two"]) == 0
    assert "plants/runs/other.1.trec" in files(place / "out/two")


def test_export_takes_what_is_done_and_never_overwrites(place: Path, capfd: pytest.CaptureFixture[str]) -> None:
    before = files(place / "trec")
    assert cli.main(["export", "runs/base", "trec"]) == 2
    assert "a folder that is not there yet" in capfd.readouterr().err
    assert files(place / "trec") == before
    (cell("runs/base", "random") / "status.json").rename(place / "status.json")
    found = export(Path("runs/base"), Path("part"))
    assert found.left_out == ("random on animals (seed 0)",)
    assert found.files == ("animals/qrels.test.trec", "animals/runs/bm25.0.trec")
    (cell("runs/base", "bm25") / "status.json").rename(place / "status2.json")
    with pytest.raises(RunFolderError, match="cells that are done"):
        export(Path("runs/base"), Path("none"))
    assert not Path("none").exists()
    (place / "status.json").rename(cell("runs/base", "random") / "status.json")
    (place / "status2.json").rename(cell("runs/base", "bm25") / "status.json")


def test_only_the_evaluated_queries_are_judged(place: Path) -> None:
    assert (
        cli.main(["run", "base.toml", "--limit", "3", "--systems", "random", "--out", "runs/few", "--no-report"]) == 0
    )
    export(Path("runs/few"), Path("few"))
    qids = {line.split()[0] for line in Path("few/animals/qrels.test.trec").read_text().splitlines()}
    assert qids == {q.qid for q in open_folder(place / "runs/few/animals/data").test.queries[:3]}
    judged: Mapping[str, Any] = open_folder(place / "runs/few/animals/data").test.qrels
    assert len(judged) == 10
