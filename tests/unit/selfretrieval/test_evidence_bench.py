"""What each kind of evidence is worth: ranks by hand, folds, and a trained tiny system from end to end."""

from __future__ import annotations

from pathlib import Path

import pytest

from harness import experiment, runner
from harness.errors import ConfigError
from selfretrieval import evidence_bench
from selfretrieval.evidence import Evidence
from selfretrieval.generate import Candidate
from selfretrieval.judge import Judged
from tests.e2e.trial import Seen
from tests.lm_models import tiny_folder


def judged(item: int, *, title: float, likelihood: float, read: bool = True) -> Judged:
    evidence = Evidence(title, title, 0.0, 0.0, 0.0, likelihood)
    return Judged(Candidate(0, 0, (item,), 0, 0, 0.0, 0.0, item), None, -title, 0.5, evidence, 0.0, read)


def asked(gold: int, *, tells: float) -> evidence_bench._Asked:
    found = [judged(i, title=-float(i), likelihood=tells if i == gold else 0.1 * i) for i in range(4)]
    found[3] = judged(3, title=9.0, likelihood=9.0, read=False)
    return evidence_bench._Asked(found, [i == gold for i in range(4)])


def test_queries_are_ranked_by_each_evidence_and_what_was_not_read_comes_last() -> None:
    rows = {r["ranking"]: r for r in evidence_bench.compare([asked(2, tells=5.0), asked(1, tells=5.0)], "d")}
    assert (rows["likelihood"]["hits_1"], rows["likelihood"]["queries"]) == (1.0, 2)
    written = rows["written: P(title) P(passage)"]
    assert (written["hits_1"], written["hits_5"]) == (0.0, 1.0)
    assert written["rr_5"] == pytest.approx((1 / 3 + 1 / 2) / 2)
    assert "acceptance" not in rows  # nobody measured it
    assert rows["bound: the relevant passage is among the candidates"]["hits_1"] == 1.0


def test_the_bound_says_how_many_candidates_must_be_judged() -> None:
    """The twelve candidates are written in the order of their numbers; the relevant ones are the third and the last."""

    def twelve(gold: int) -> evidence_bench._Asked:
        found = [judged(i, title=-float(i), likelihood=5.0 if i == gold else 0.1 * i) for i in range(12)]
        return evidence_bench._Asked(found[::-1], [i == gold for i in range(12)][::-1])

    rows = {r["ranking"]: r["hits_1"] for r in evidence_bench.compare([twelve(2), twelve(11)], "d")}
    assert rows["bound: it is among the 10 most probably written"] == 0.5
    assert rows["bound: the relevant passage is among the candidates"] == 1.0
    assert not any("among the 20" in name for name in rows)  # nobody wrote so many


def test_weights_come_from_the_other_folds() -> None:
    """One query in five contradicts the others: fitted with it, it would pull the weights; it must not help itself."""
    queries = [asked(1 + i % 2, tells=-5.0 if i % 5 == 0 else 5.0) for i in range(40)]
    rows = {r["ranking"]: r for r in evidence_bench.compare(queries, "d")}
    fitted = next(r for name, r in rows.items() if name.startswith("fitted") and "likelihood" in name)
    assert fitted["hits_1"] == pytest.approx(0.8)
    assert fitted["weights"]["likelihood"] > 0


def test_a_trained_system_is_measured_and_too_little_is_refused(tmp_path: Path) -> None:
    data = tmp_path / "towns"
    (data / "qrels").mkdir(parents=True)
    names = ["Oslo", "Rome", "Bern", "Lima", "Riga", "Bonn"]
    passage = '{{"_id": "{n}", "title": "{n}", "text": "{n} is the old town number {i} of all towns here."}}\n'
    (data / "corpus.jsonl").write_text("".join(passage.format(n=n, i=i) for i, n in enumerate(names)))
    queries = [f'{{"_id": "q{i}", "text": "town number {i % 6}"}}\n' for i in range(40)]
    (data / "queries.jsonl").write_text("".join(queries))
    for split, which in (("train", range(6)), ("dev", range(6, 36)), ("test", range(36, 40))):
        rows = "".join(f"q{i}\t{names[i % 6]}\t1\n" for i in which)
        (data / "qrels" / f"{split}.tsv").write_text("query-id\tcorpus-id\tscore\n" + rows)
    system = {
        "backbone": tiny_folder(tmp_path / "lm"),
        "training": {"tokens": 600, "frozen_layers": 0, "dtype": "float32"},
        "dtype": "float32",
        "assessment": False,
        "likelihood": True,
        "title_beams": 6,
    }
    table = {"name": "tiny", "datasets": {str(data): {}}, "systems": {"self-retrieval": system, "bm25": {}}}
    runner.run(experiment.Experiment.from_table(table, "tiny"), tmp_path / "run", Seen())
    rows = evidence_bench.measure(tmp_path / "run", systems=None, dataset=None, limit=20)
    assert {r["queries"] for r in rows} == {20}
    assert rows[-1]["hits_1"] == 1.0  # six beams write all six titles
    narrow = evidence_bench.measure(tmp_path / "run", systems=None, dataset=None, limit=30, sets=["title_beams=4"])
    assert narrow[-1]["hits_1"] < 1.0
    sets = ["candidates=all", "ranking=log-linear"]
    listed = evidence_bench.measure(tmp_path / "run", systems=None, dataset=None, limit=20, sets=sets)
    assert listed[-1]["hits_1"] == 1.0
    by_name, before = ({r["ranking"]: r for r in some} for some in (listed, rows))
    assert by_name["likelihood"] == before["likelihood"]  # six titles of one passage: the same candidates
    assert by_name["written, against P(passage) unasked"]["rr_5"] == by_name["written: P(title) P(passage)"]["rr_5"]
    for wrong, says in (
        ("shares.title=1", "leave out its table"),
        ("titel_beams=3", "title_beams"),
        ("judged=1", "at least 2 judged"),
        ("reach=any sentence", "other reach than this system was trained"),
    ):
        with pytest.raises(ConfigError, match=says):
            evidence_bench.measure(tmp_path / "run", systems=None, dataset=None, limit=20, sets=[wrong])
    heads, lines = evidence_bench.table(rows)
    assert len(heads) == len(lines[0])
    with pytest.raises(ConfigError, match="raise --limit"):
        evidence_bench.measure(tmp_path / "run", systems=None, dataset=None, limit=10)
    with pytest.raises(ConfigError, match="Self-Retrieval system that is done"):
        evidence_bench.measure(tmp_path / "run", systems=["bm25"], dataset=None, limit=20)
