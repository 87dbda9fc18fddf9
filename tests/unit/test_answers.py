"""Exact Match and F1 by hand; the answers of a run: an invented system whose figures are worked out, and real ones."""

from __future__ import annotations

import io
import itertools
import json
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import pytest
from pydantic import BaseModel

from harness import answers, cell, cli, datasets, plan
from harness.answer_match import exact_match, normalised, token_f1
from harness.datasets.stored import checksum
from harness.errors import ConfigError, DataError, RunFolderError, UnknownNameError
from harness.lock import locked
from harness.reporter import Reporter
from harness.retriever import Footprint, System
from harness.store import CellFolder, RunFolder
from harness.types import Answer, Corpus, Dataset, Hit
from tests.e2e import trial
from tests.lm_models import tiny_folder
from tests.unit.test_beam_curve import Told, planned, status_of


@pytest.mark.parametrize(
    ("text", "same"),
    [
        ("  The   Eiffel\tTower ", "eiffel tower"),
        ("A man, a plan; an end.", "man plan end"),
        ("theatre an-other banana", "theatre another banana"),
        ("U.S.A.", "usa"),
        ("the a AN", ""),
        ("?!", ""),
        ("", ""),
        ("“Zoë” – 1,000", "“zoë” – 1000"),
        ("a-b", "ab"),
        ("Straße ÉTÉ", "straße été"),
    ],
)
def test_normalised_as_the_official_script_does(text: str, same: str) -> None:
    assert normalised(text) == same


@pytest.mark.parametrize(
    ("answer", "references", "match", "f1"),
    [
        ("The Seine.", ["Seine"], 1, 1),
        ("river Seine", ["Seine", "the Loire"], 0, 2 / 3),
        ("Seine", ["Loire", "river Seine in Paris"], 0, 0.4),
        ("to be or to be", ["to be"], 0, 2 * 2 / 7),
        ("Loire", ["Seine"], 0, 0),
        ("", ["Seine"], 0, 0),
        ("the", ["Seine"], 0, 0),
        ("", ["The A"], 0, 0),
        ("an", ["The A"], 1, 0),
        ("Seine", ["the"], 0, 0),
        ("Seine", [], 0, 0),
    ],
)
def test_the_best_reference_counts(answer: str, references: list[str], match: float, f1: float) -> None:
    assert exact_match(answer, references) == match
    assert token_f1(answer, references) == pytest.approx(f1)


class Settings(BaseModel):
    """No settings."""


@dataclass
class Fake:
    """Answers "word7" half, refuses "word8" from a wrong passage, and answers any other as it should."""

    asked: list[list[str]] = field(default_factory=list)
    wrong: bool = False

    def index(self, corpus: Corpus, *_: Any) -> None: ...

    def search(self, queries: Sequence[str], k: int) -> list[list[Hit]]:
        raise AssertionError("only the answer is asked for")

    def answer(self, queries: Sequence[str]) -> list[Answer]:
        self.asked.append(list(queries))
        return [self._answer(int(query.removeprefix("word"))) for query in queries]

    def _answer(self, number: int) -> Answer:
        if self.wrong:
            return Answer("nonsense", None, -9.0)
        said = {7: ("text word7 or so", "d07"), 8: ("", "d01")}.get(number, (f"Text word{number}.", f"d{number:02}"))
        return Answer(*said, -float(number))

    def save(self, folder: Path) -> None: ...

    def footprint(self) -> Footprint:
        return Footprint(0, 0)


GOOD, BAD = Fake(), Fake(wrong=True)
SYSTEMS = {
    "good": System("good", "self-retrieval", "", Settings, lambda *_: Fake(), lambda _: GOOD),
    "bad": System("bad", "dense", "", Settings, lambda *_: Fake(), lambda _: BAD),
    "mute": System("mute", "sparse", "", Settings, lambda *_: object(), lambda _: GOOD),  # type: ignore
}


def with_answers(found: Dataset) -> Dataset:
    """Give every query but the first of each split the answer "text wordN", and every other one a second."""
    changed = {}
    for name in ("train", "test"):
        split = found.split(name)
        first, *rest = split.queries
        told = (q._replace(answers=(f"the text {q.text}", "x")[: 1 + i % 2]) for i, q in enumerate(rest))
        changed[name] = replace(split, queries=(first, *told))
    made = replace(found, **changed)
    return replace(made, card={"name": found.name, "checksum": checksum(made)})


@pytest.fixture(autouse=True)
def answered(monkeypatch: pytest.MonkeyPatch) -> None:
    """Every name loads 20 passages, 11 of whose 12 test queries have answers."""
    monkeypatch.setattr(datasets, "load", lambda name, settings, progress: with_answers(trial.load(name, settings)))


def done(found: plan.Plan) -> None:
    for one in found.cells:
        (one.folder / "model").mkdir(exist_ok=True)
        CellFolder(one.folder).write_status(status_of(one))


@pytest.fixture
def run(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A run of the invented systems that is over."""
    monkeypatch.setattr(plan, "resolve", SYSTEMS.__getitem__)
    GOOD.asked.clear()
    BAD.asked.clear()
    done(planned(tmp_path / "run", {"good": {}, "bad": {}, "mute": {}}))
    return tmp_path / "run"


def test_figures_are_means_over_the_queries_that_have_answers(run: Path) -> None:
    good, bad = answers.measure(run)
    assert (good.cell.system, bad.cell.system) == ("good", "bad")
    record = good.record
    assert record["n"] == 11
    assert record["exact_match"] == pytest.approx(9 / 11)
    assert record["f1"] == pytest.approx((9 + 2 * 2 / 6) / 11)
    assert record["gold_passage"] == pytest.approx(10 / 11)
    assert record["refused"] == pytest.approx(1 / 11)
    assert 0 < record["exact_match_low"] < 9 / 11 < record["exact_match_high"] <= 1
    assert record["rss_peak_bytes"] > 1_000_000
    assert (bad.record["exact_match"], bad.record["gold_passage"], bad.record["f1_high"]) == (0, 0, 0)


def test_each_answer_is_kept_beside_what_was_wanted(run: Path) -> None:
    (found,) = answers.measure(run, systems=["good"], limit=3)
    folder = CellFolder(run / "tiny" / "good" / "0")
    assert folder.answers() == found.record
    rows = folder.answer_rows()
    assert [row["qid"] for row in rows] == ["test6", "test7", "test8"]
    assert rows[1] == {
        **{"qid": "test7", "question": "word7", "answer": "text word7 or so", "docid": "d07", "logprob": -7.0},
        **{"references": ["the text word7", "x"], "exact_match": 0.0, "f1": pytest.approx(2 / 3), "gold_passage": 1.0},
    }
    assert (rows[2]["answer"], rows[2]["docid"], rows[2]["f1"], rows[2]["gold_passage"]) == ("", "d01", 0.0, 0.0)
    answers.measure(run, systems=["good"], limit=1)
    assert [row["qid"] for row in folder.answer_rows()] == ["test6"]
    assert CellFolder(run / "tiny" / "bad" / "0").answers() is None
    record = folder.answers()
    assert record is not None and "f1_low" not in record


def test_every_query_is_asked_alone_after_the_warm_up_and_timed(run: Path) -> None:
    ticks = itertools.accumulate(itertools.chain.from_iterable((0.0, i / 1000) for i in itertools.count(1)))
    told = Told()
    (found,) = answers.measure(run, systems=["good"], limit=3, progress=told, clock=lambda: next(ticks))
    assert GOOD.asked == [[f"word{i}"] for i in (5, 9, 6, 7, 8)]
    latency = found.record["latency_ms"]
    assert latency == pytest.approx({"p50": 2, "p95": 2.9, "p99": 2.98, "mean": 2, "n": 3, "k": 1})
    assert told.phases == [("good: load", None), ("good: answer", 3)]
    assert told.advanced == 3


def test_systems_that_answered_the_same_queries_are_compared(run: Path) -> None:
    answers.measure(run, systems=["bad"])
    assert RunFolder(run).answer_significance() == []
    answers.measure(run, systems=["good"])
    rows = RunFolder(run).answer_significance()
    assert [(r["system"], r["baseline"], r["measure"], r["n"]) for r in rows] == [
        ("good", "bad", "exact_match", 11),
        ("good", "bad", "f1", 11),
    ]
    assert rows[0]["difference"] == pytest.approx(9 / 11)
    assert rows[0]["p"] == pytest.approx(2 / 2**9)  # nine queries differ, all one way
    answers.measure(run, systems=["good"], limit=4)
    assert RunFolder(run).answer_significance() == []


@pytest.mark.parametrize("change", [{"state": "failed"}, {"fingerprint": "older"}])
def test_answers_of_a_cell_that_has_no_result_any_more_are_not_compared(run: Path, change: dict[str, str]) -> None:
    answers.measure(run, systems=["bad"])
    path = run / "tiny" / "bad" / "0" / "status.json"
    path.write_text(json.dumps(json.loads(path.read_text()) | change))
    answers.measure(run, systems=["good"])
    assert RunFolder(run).answer_significance() == []


@pytest.mark.parametrize(
    ("options", "error", "said"),
    [
        ({"limit": 0}, ConfigError, "limit"),
        ({"systems": ["goods"]}, UnknownNameError, "use 'good'"),
        ({"dataset": "small"}, UnknownNameError, "known: tiny"),
        ({"systems": ["good", "mute"]}, ConfigError, "got mute"),
        ({"systems": ["mute"]}, ConfigError, "answer in words"),
    ],
)
def test_what_cannot_be_asked_is_refused_before_anything_is(
    run: Path, options: dict[str, Any], error: type[Exception], said: str
) -> None:
    with pytest.raises(error, match=said):
        answers.measure(run, **options)
    assert GOOD.asked == []


def test_runs_without_such_a_system_or_without_answers_are_refused(
    tmp_path: Path, run: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    done(planned(tmp_path / "mute", {"mute": {}}))
    with pytest.raises(RunFolderError, match="mute, none of which answers in words"):
        answers.measure(tmp_path / "mute")
    with locked(run), pytest.raises(RunFolderError, match="to be free"):
        answers.measure(run)
    monkeypatch.setattr(datasets, "load", trial.load)
    done(planned(tmp_path / "silent", {"good": {}}))
    with pytest.raises(DataError, match="reference answers on the evaluated queries of tiny"):
        answers.measure(tmp_path / "silent")
    assert cli.main(["answers", str(tmp_path / "silent")]) == cli.REFUSED
    assert "reference answers" in capsys.readouterr().err
    assert GOOD.asked == []


def test_a_dataset_without_answers_is_left_out_where_another_has_them(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(plan, "resolve", SYSTEMS.__getitem__)
    load = {"tiny": datasets.load, "silent": trial.load}
    monkeypatch.setattr(datasets, "load", lambda name, settings, progress: load[name](name, settings, progress))
    done(planned(tmp_path / "run", {"good": {}}, datasets={"silent": {}, "tiny": {}}))
    assert [one.cell.dataset for one in answers.measure(tmp_path / "run", limit=2)] == ["tiny"]
    with pytest.raises(DataError, match="evaluated queries of silent"):
        answers.measure(tmp_path / "run", dataset="silent")


def test_a_system_that_loses_an_answer_is_refused(run: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(Fake, "answer", lambda *_: [])
    with pytest.raises(DataError, match="0 lists"):
        answers.measure(run, systems=["good"])
    assert CellFolder(run / "tiny" / "good" / "0").answers() is None


def test_the_command_asks_real_systems_and_the_report_shows_it(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """Cells as the runner makes them, of tiny models."""
    lm: dict[str, Any] = {"backbone": tiny_folder(tmp_path / "lm"), "dtype": "float32", "answer_tokens": 6}
    lm["training"] = {"tokens": 900, "frozen_layers": 0, "dtype": "float32"}
    systems = {"dense-reader": lm, "self-retrieval": {**lm, "title_beams": 2, "passage_beams": 2}}
    out = tmp_path / "run"
    found = planned(out, systems)
    for one in found.cells:
        folder = CellFolder(one.folder)
        cell.index(folder, folder.spec(), Reporter(io.StringIO()))  # type: ignore[arg-type]
        folder.write_status(status_of(one))
    RunFolder(out).write_results([])
    RunFolder(out).write_significance([])
    assert cli.main(["answers", str(out), "--limit", "4"]) == 0
    printed = capsys.readouterr().out
    assert "dense-reader: answer" in printed and printed.rstrip().endswith("index.html")
    for system in systems:
        folder = CellFolder(out / "tiny" / system / "0")
        record = folder.answers()
        assert record is not None and record["n"] == 4
        assert {row["qid"] for row in folder.answer_rows()} == {f"test{i}" for i in (6, 7, 8, 9)}
    table = (out / "report" / "tables" / "answers-tiny.csv").read_text(encoding="utf-8").splitlines()
    assert [line.split(",")[:2] for line in table[1:]] == [
        ["dense", "dense-reader"],
        ["self-retrieval", "self-retrieval"],
    ]
    assert json.loads((out / "answer_significance.json").read_text(encoding="utf-8"))
