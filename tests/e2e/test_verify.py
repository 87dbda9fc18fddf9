"""`harness verify`: a run is what its stored hits say, and every figure that was changed is named."""

from __future__ import annotations

import gzip
import json
import shutil
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from harness import cli, verify
from harness.errors import RunFolderError
from harness.records import AnswersRecord
from harness.store import RunFolder
from harness.types import Split
from tests.e2e import trial
from tests.e2e.trial import cell, go, tiny  # noqa: F401 - `tiny` is a fixture


@pytest.fixture(scope="module")
def original(tmp_path_factory: pytest.TempPathFactory, tiny: Any) -> Path:  # noqa: F811
    folder = tmp_path_factory.mktemp("verify") / "run"
    systems = {"bm25": {"system": "bm25"}, "random": {"system": "random"}, "bm25-rank": {"system": "bm25-rank"}}

    plain = trial.split

    def answered(name: str, first: int, end: int) -> Split:
        found = plain(name, first, end)
        return replace(found, queries=tuple(query._replace(answers=("Paris",)) for query in found.queries))

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(trial, "split", answered)
        summary, _ = go(systems, folder)
    assert summary.done == 3
    return folder


@pytest.fixture
def run(original: Path, tmp_path: Path) -> Path:
    return Path(shutil.copytree(original, tmp_path / "run"))


def change_json(path: Path, change: Callable[[Any], None]) -> None:
    value = json.loads(path.read_text())
    change(value)
    path.write_text(json.dumps(value))


def test_an_untouched_run_is_verified(run: Path, capsys: pytest.CaptureFixture[str]) -> None:
    verdict = verify.verify(run)
    assert verdict.differences == []
    # 8 measures of 12 queries of 3 systems, and more than as many again of what was summed up.
    assert verdict.figures > 3 * 8 * 12 + 3 * 8 * 4
    assert cli.main(["verify", str(run)]) == 0
    out = capsys.readouterr().out
    assert "checked      tiny bm25 seed 0: 8 measures of 12 queries from the stored hits" in out
    assert "paired tests with Holm's correction" in out
    assert "not checked  meter.json" in out
    assert "not checked  report/: " in out
    assert "not checked  answers.json: nor can times" in out
    assert f"verified: {verdict.figures:,} figures, no difference" in out


def test_a_changed_hit_is_found_in_queries_means_and_tests(run: Path, capsys: pytest.CaptureFixture[str]) -> None:
    path = cell(run, "bm25").path / "run.trec.gz"
    lines = gzip.decompress(path.read_bytes()).decode().splitlines(keepends=True)
    first = lines[0].split()[0]
    kept = [line for line in lines if line.split()[0] != first]
    path.write_bytes(gzip.compress("".join(kept).encode()))
    assert cli.main(["verify", str(run)]) == 1
    out = capsys.readouterr().out
    assert f"DIFFERENT    tiny bm25 seed 0: Success@1 of query {first}: stored 1, recomputed 0" in out
    assert "DIFFERENT    tiny bm25 seed 0: Success@1, slice all, value: stored 1, recomputed 0.9166666667" in out
    assert "not verified: " in out


def test_a_changed_figure_is_named_with_both_values(run: Path) -> None:
    def raise_it(rows: Any) -> None:
        row = next(r for r in rows if (r["system"], r["measure"], r["slice"]) == ("random", "RR@5", "all"))
        row["value"] += 0.02
        row["ci_high"] += 0.001

    change_json(run / "results.json", raise_it)
    differences = verify.verify(run).differences
    assert [(d.cell, d.what) for d in differences] == [
        ("tiny random seed 0", "RR@5, slice all, value"),
        ("tiny random seed 0", "RR@5, slice all, ci_high"),
    ]
    assert float(differences[0].stored) == pytest.approx(float(differences[0].recomputed) + 0.02)


def test_a_changed_test_is_named(run: Path) -> None:
    change_json(run / "significance.json", lambda rows: rows[0].update(p_holm=0.0001))
    (difference,) = verify.verify(run).differences
    assert difference.what.endswith("p_holm")
    assert difference.stored == "0.0001"


@pytest.mark.parametrize("file", ["results.json", "significance.json"])
def test_rows_that_are_missing_or_too_many_are_found(file: str, run: Path) -> None:
    def other(rows: Any) -> None:
        rows[0]["measure"] = "P@3"

    change_json(run / file, other)
    found = verify.verify(run).differences
    assert any(d.recomputed in ("no such figure", "nothing") and "P@3" in d.what for d in found)
    assert any(d.stored == "nothing" for d in found)


@pytest.mark.parametrize(
    ("file", "figure", "name", "what"),
    [
        ("results.json", "value", "tiny bm25 seed 0", "Success@1, slice all"),
        ("significance.json", "difference", "tiny bm25-rank against bm25 seed 0", "Success@1"),
    ],
)
def test_a_row_of_another_value_beside_the_true_one_is_found(
    file: str, figure: str, name: str, what: str, run: Path
) -> None:
    """The true row stands last, where a look-up finds it; the report would average both."""
    change_json(run / file, lambda rows: rows.insert(0, rows[0] | {figure: 0.25}))
    assert verify.verify(run).differences == [(name, f"{what}, rows in {file}", "2", "1")]


def test_a_measure_that_no_experiment_names_is_found(run: Path) -> None:
    folder = cell(run, "random")
    stored = folder.per_query()
    folder.write_per_query(stored | {"P@3": dict.fromkeys(stored["RR@5"], 0.5)})
    (difference,) = verify.verify(run).differences
    assert difference.what.startswith("P@3 of query test")
    assert difference.what.endswith(", and 11 more queries")
    assert difference[2:] == ("0.5", "nothing")


@pytest.mark.parametrize("kept", [0, 1])
def test_emptied_results_are_found(run: Path, kept: int) -> None:
    """Not one figure, or none of what is counted over all queries."""
    change_json(
        run / "results.json",
        lambda rows: rows.__setitem__(slice(None), [r for r in rows if r["slice"] != "all"] * kept),
    )
    told = {(d.cell, d.what) for d in verify.verify(run).differences}
    assert ("tiny bm25 seed 0", "RR@5, slice all, value") in told


def test_slices_an_earlier_version_did_not_cut_are_no_difference(run: Path) -> None:
    names = {row["slice"] for row in json.loads((run / "results.json").read_text())}
    gone = next(name for name in names if name != "all")
    change_json(
        run / "results.json", lambda rows: rows.__setitem__(slice(None), [r for r in rows if r["slice"] != gone])
    )
    assert verify.verify(run).differences == []


def test_changed_data_do_not_match_their_checksum(run: Path) -> None:
    change_json(run / "tiny" / "data" / "card.json", lambda card: card.update(checksum="0" * 64))
    (difference,) = verify.verify(run).differences
    assert (difference.cell, difference.what) == ("tiny", "checksum of the stored data")
    (run / "tiny" / "data" / "corpus.arrow").unlink()
    found = verify.verify(run).differences
    assert ("tiny", "the stored data") in {(d.cell, d.what) for d in found}


def test_a_hit_outside_the_corpus_or_a_damaged_file_is_told(run: Path) -> None:
    path = cell(run, "random").path / "run.trec.gz"
    path.write_bytes(gzip.compress(b"test5 Q0 elsewhere 1 1.0 random\n"))
    found = verify.verify(run).differences
    assert any(d.cell == "tiny random seed 0" and "elsewhere" in d.recomputed for d in found)
    path.write_bytes(b"no gzip")
    assert any("readable run file" in d.recomputed for d in verify.verify(run).differences)


def test_another_task_than_planned_is_told(run: Path) -> None:
    change_json(cell(run, "bm25").path / "spec.json", lambda spec: spec.update(fingerprint="other"))
    (difference,) = verify.verify(run).differences
    assert (difference.what, difference.stored) == ("fingerprint in spec.json", "other")


def test_answers_are_judged_again(run: Path) -> None:
    latency = {"p50": 1.0, "p95": 1.0, "p99": 1.0, "mean": 1.0, "n": 2, "k": 1}
    row = {"qid": "test5", "question": "", "docid": None, "logprob": 0.0, "references": ["Paris"], "gold_passage": 0.0}
    rows: Any = [row | {"answer": said, "exact_match": e, "f1": e} for said, e in (("paris", 1.0), ("Rome", 0.0))]
    record = {"n": 2, "exact_match": 0.5, "f1": 0.5, "gold_passage": 0.0, "refused": 0.0, "rss_peak_bytes": 1}
    bounds = {f"{m}_{end}": float(end == "high") for m in ("exact_match", "f1") for end in ("low", "high")}
    folder = cell(run, "bm25")
    folder.write_answers(AnswersRecord(**record, **bounds, latency_ms=latency), rows)  # type: ignore[typeddict-item]
    assert verify.verify(run).differences == []
    change_json(folder.path / "answers.json", lambda found: found.update(f1=0.75))
    (difference,) = verify.verify(run).differences
    assert difference == ("tiny bm25 seed 0", "f1 of the answers", "0.75", "0.5")
    change_json(folder.path / "answers.json", lambda found: found.update(f1=0.5, gold_passage=1.0, refused=0.5))
    assert [d[1:] for d in verify.verify(run).differences] == [
        ("gold_passage of the answers", "1", "0"),
        ("refused of the answers", "0.5", "0"),
    ]
    told = [
        row | {"answer": "", "docid": "d05", "exact_match": 0.0, "f1": 0.0, "gold_passage": 1.0} if not n else row
        for n, row in enumerate(rows)
    ]
    nothing = dict.fromkeys(bounds, 0.0) | {"exact_match": 0.0, "f1": 0.0, "gold_passage": 0.5, "refused": 0.5}
    folder.write_answers(AnswersRecord(**record | nothing, latency_ms=latency), told)  # type: ignore[typeddict-item]
    assert verify.verify(run).differences == []
    # References that suit the answers do not make them right, and answers that are gone are told, not divided by.
    folder.write_answers(
        AnswersRecord(**record, **bounds, latency_ms=latency), [r | {"references": ["Rome"]} for r in rows]
    )  # type: ignore[typeddict-item]
    assert "reference answers of query test5" in {d.what for d in verify.verify(run).differences}
    (folder.path / "answers.jsonl").unlink()
    assert [d[1:] for d in verify.verify(run).differences] == [("number of answers", "2", "0")]


def test_cells_without_a_result_and_other_libraries_are_noted(run: Path) -> None:
    cells = {c.system: c for c in RunFolder(run).cells()}
    for name, change in (("bm25-rank", {"state": "failed"}), ("random", {"fingerprint": "older"})):
        change_json(run / "tiny" / name / "0" / "status.json", lambda status, change=change: status.update(change))
    change_json(run / "experiment.json", lambda record: record["environment"]["packages"].update(scipy="0.1"))
    notes = verify.verify(run).notes
    assert "tiny bm25-rank seed 0 has no result: nothing to check" in notes
    assert any("random seed 0 is of another plan" in note for note in notes)
    assert any(note.startswith("the run was measured with scipy 0.1") for note in notes)
    assert cells.keys() == {"bm25", "random", "bm25-rank"}


@pytest.mark.parametrize(
    ("file", "text"),
    [
        ("results.json", '[{"dataset": "tiny"}]'),
        ("significance.json", "[7]"),
        ("significance.json", "[" * 200_000),
        ("tiny/bm25/0/spec.json", "{}"),
        ("tiny/bm25/0/answers.json", '{"n": 1}'),
    ],
)
def test_damaged_files_are_refused(file: str, text: str, run: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (run / file).write_text(text)
    if "answers" in file:
        (run / file).with_suffix(".jsonl").write_text('{"qid": "test5"}\n')
    assert cli.main(["verify", str(run)]) == 2
    assert "Traceback" not in capsys.readouterr().err


def test_what_is_no_run_is_refused(tmp_path: Path, run: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert cli.main(["verify", str(tmp_path / "nothing")]) == 2
    for name in ("bm25", "random", "bm25-rank"):
        change_json(run / "tiny" / name / "0" / "status.json", lambda status: status.update(state="failed"))
    with pytest.raises(RunFolderError, match="cells that are done"):
        verify.verify(run)
