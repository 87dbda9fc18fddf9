"""Results kept in a file: what goes in, what is replaced, and how it is shown."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from harness import cli, kept
from harness.errors import RunFolderError, StorageError
from harness.store import RunFolder
from reports.kept import markdown
from tests.unit.reports.sample_run import write_sample


@pytest.fixture
def run(tmp_path: Path) -> Path:
    folder = tmp_path / "run"
    write_sample(folder)
    return folder


def test_finished_cells_are_kept_with_their_fingerprints(run: Path, tmp_path: Path) -> None:
    file = tmp_path / "docs" / "kept.json"
    cells = kept.keep(run, file)
    folder = RunFolder(run)
    done = [c for c in folder.cells() if (s := folder.status(c)) and s["state"] == "done"]
    assert len(cells) == len(done) < len(folder.cells())
    assert [c["fingerprint"] for c in kept.read(file)] == [c["fingerprint"] for c in cells]
    assert {c["fingerprint"] for c in cells} == {c.fingerprint for c in done}
    rows = [row for cell in cells for row in cell["results"]]
    assert all(row["system"] == cell["system"] for cell in cells for row in cell["results"])
    assert len(rows) == len([r for r in folder.results() if any(r["system"] == c.system for c in done)])


def test_tests_against_other_systems_are_kept_with_how_many_there_were(tmp_path: Path) -> None:
    run = write_sample(tmp_path / "run", seeds=(0, 1))
    rows = RunFolder(run).significance()
    assert {row["seed"] for row in rows} == {0, 1}
    for cell in kept.keep(run, tmp_path / "kept.json"):
        family = [row for row in rows if (row["dataset"], row["seed"]) == (cell["dataset"], cell["seed"])]
        mine = [row for row in family if row["system"] == cell["system"]]
        told = [(t["measure"], t["baseline"], t["p"], t["p_holm"]) for t in cell.get("tests", [])]
        assert told == [(row["measure"], row["baseline"], row["p"], row["p_holm"]) for row in mine]
        assert {t["tests"] for t in cell.get("tests", [])} <= {len(family)}
    assert any("tests" in cell for cell in kept.read(tmp_path / "kept.json"))


@pytest.mark.parametrize(
    ("passages_each", "titles"), [(2, {"Success@1": 1.0, "Success@5": 1.0, "RR@5": 1.0}), (1, None)]
)
def test_titles_are_measured_where_they_have_several_passages(
    tmp_path: Path, passages_each: int, titles: dict[str, float] | None
) -> None:
    """Of two passages a title the second is asked for and the first found: wrong as a passage, right as a title."""
    lines = [
        f'{{"_id": "d{i}", "title": "Title {i // passages_each}", "text": "word{i} word{i // 2}a"}}' for i in range(4)
    ]
    folder = tmp_path / "set"
    (folder / "qrels").mkdir(parents=True)
    (folder / "corpus.jsonl").write_text("\n".join(lines), encoding="utf-8")
    (folder / "queries.jsonl").write_text('{"_id": "q", "text": "word0"}\n', encoding="utf-8")
    (folder / "qrels" / "test.tsv").write_text("query-id\tcorpus-id\tscore\nq\td1\t1\n", encoding="utf-8")
    run = tmp_path / "run"
    arguments = ["run", "smoke", "--dataset", str(folder), "--systems", "bm25", "--out", str(run), "--no-report"]
    assert cli.main(arguments) == 0
    (cell,) = kept.keep(run, tmp_path / "kept.json")
    passages = {row["measure"]: row["value"] for row in cell["results"] if row["slice"] == "all"}
    assert passages["Success@1"] == 0.0
    assert cell.get("titles") == titles


def test_a_cell_replaces_the_older_one_and_leaves_the_others(run: Path, tmp_path: Path) -> None:
    file = tmp_path / "kept.json"
    first = kept.keep(run, file)
    record = json.loads(file.read_text())
    record["cells"][0]["fingerprint"] = "old"
    record["cells"][1]["system"] = "elsewhere"
    file.write_text(json.dumps(record))
    again = kept.keep(run, file)
    assert len(again) == len(first) + 1
    assert "old" not in {c["fingerprint"] for c in again}
    assert "elsewhere" in {c["system"] for c in again}


def test_two_experiments_keep_their_rows_apart(run: Path, tmp_path: Path) -> None:
    file = tmp_path / "kept.json"
    first = kept.keep(run, file)
    record = json.loads((run / "experiment.json").read_text())
    (run / "experiment.json").write_text(json.dumps({**record, "name": "another"}))
    assert len(kept.keep(run, file)) == 2 * len(first)


def test_tables_show_scores_and_fingerprints(run: Path, tmp_path: Path) -> None:
    file = tmp_path / "kept.json"
    cells = kept.keep(run, file)
    text = markdown(file)
    for cell in cells:
        assert cell["fingerprint"][:8] in text
        (value,) = [r["value"] for r in cell["results"] if (r["slice"], r["measure"]) == ("all", "Success@1")]
        assert f"{value:.3f}" in text
    assert "†" not in text


def test_rows_of_other_data_are_marked_and_take_no_part(run: Path, tmp_path: Path) -> None:
    file = tmp_path / "kept.json"
    kept.keep(run, file)
    record = json.loads(file.read_text())
    other = next(cell for cell in record["cells"] if cell["family"] != "bracket")
    other["checksum"] = "another0beyond"
    (score,) = [r for r in other["results"] if (r["slice"], r["measure"]) == ("all", "Success@1")]
    score["value"] = 0.9999
    for row in other["results"]:
        row["n"] = 4321
    file.write_text(json.dumps(record))
    text = markdown(file)
    (line,) = [line for line in text.splitlines() if line.startswith("|") and "†" in line]
    assert f"{other['system']} †" in line
    assert "1.000" in line and "**1.000**" not in line
    assert "4,321" not in text
    assert "*† measured on other data (another0): not comparable with the other rows*" in text
    assert text.count("| System |") == 1


def test_sizes_of_the_corpus_beams_and_answers_are_kept_where_they_were_measured(tmp_path: Path) -> None:
    file = tmp_path / "kept.json"
    write_sample(tmp_path / "run", beams=(1, 5), answers=True)
    by_system = {cell["system"]: cell for cell in kept.keep(tmp_path / "run", file)}
    assert all(cell["corpus"] == {"passages": 500, "documents": 500} for cell in by_system.values())
    assert [row["beam_size"] for row in by_system["dsi"]["beams"]] == [1, 5]
    assert by_system["dense"]["answers"]["n"] == 120
    assert not {"beams", "answers"} & by_system["bm25"].keys()


def test_what_was_not_kept_by_this_program_is_refused(run: Path, tmp_path: Path) -> None:
    file = tmp_path / "kept.json"
    file.write_text('{"format": 99, "cells": []}')
    with pytest.raises(RunFolderError, match="format"):
        kept.keep(run, file)
    for text in ('{"format": 1}', '{"format": 1, "cells": {}}', (run / "experiment.json").read_text()):
        file.write_text(text)
        with pytest.raises(RunFolderError, match="a file of another kind"):
            kept.keep(run, file)
        assert file.read_text() == text


def test_cells_and_rows_without_their_keys_are_refused(run: Path, tmp_path: Path) -> None:
    file = tmp_path / "kept.json"
    kept.keep(run, file)
    record = json.loads(file.read_text())
    for change in ({"results": [{"measure": "RR@5"}]}, {"results": {}}, {"results": [None]}, {"meter": []}):
        file.write_text(json.dumps(record | {"cells": [record["cells"][0] | change]}))
        with pytest.raises(RunFolderError, match="a file of another kind"):
            markdown(file)
    (run / "results.json").write_text('[{"dataset": "d"}]')
    with pytest.raises(RunFolderError, match="complete files of a run"):
        kept.keep(run, tmp_path / "other.json")


def test_a_file_in_the_way_is_said(run: Path, tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(StorageError, match="file"):
        kept.keep(run, tmp_path / "file" / "kept.json")


@pytest.mark.parametrize("change", [{"n": 7}, {"split": "dev"}])
def test_a_result_that_says_less_does_not_replace_one(run: Path, tmp_path: Path, change: dict[str, Any]) -> None:
    file = tmp_path / "kept.json"
    kept.keep(run, file)
    before = file.read_text()
    rows = json.loads((run / "results.json").read_text())
    whole = (run / "results.json").read_text()
    (run / "results.json").write_text(json.dumps([row | change for row in rows]))
    with pytest.raises(RunFolderError, match="120 test queries"):
        kept.keep(run, file)
    assert file.read_text() == before
    # In a file of its own it stands beside whole ones, marked.
    apart = tmp_path / "apart.json"
    kept.keep(run, apart)
    record = json.loads(apart.read_text())
    record["cells"] += [cell | {"seed": seed} for cell in json.loads(before)["cells"] for seed in (1, 2)]
    apart.write_text(json.dumps(record))
    said = "queries (7 of test)" if "n" in change else "queries (120 of dev)"
    assert f"*† measured on other {said}: not comparable with the other rows*" in markdown(apart)
    # The other way round, a whole one takes the place of a part.
    (run / "results.json").write_text(whole)
    if "n" in change:
        kept.keep(run, apart)
        assert "†" not in markdown(apart)


def test_what_was_measured_once_is_not_lost(tmp_path: Path) -> None:
    file, run = tmp_path / "kept.json", tmp_path / "run"
    write_sample(run, beams=(1, 5), answers=True)
    kept.keep(run, file)
    before = file.read_text()
    rows = json.loads((run / "results.json").read_text())
    (run / "results.json").write_text(json.dumps([row for row in rows if row["measure"] != "RR@5"]))
    with pytest.raises(RunFolderError, match=r"got one without RR@5\n"):
        kept.keep(run, file)
    (run / "results.json").write_text(json.dumps(rows))
    for name in ("beams.json", "answers.json"):
        for path in run.rglob(name):
            path.unlink()
    with pytest.raises(RunFolderError, match=r"got one without (beams|answers)") as caught:
        kept.keep(run, file)
    assert "harness bench beams" in caught.value.fix
    assert file.read_text() == before
    # Of other data it says something else, not less.
    file.write_text(before.replace(json.loads(before)["cells"][0]["checksum"], "another"))
    kept.keep(run, file)


def test_the_machine_is_the_one_a_cell_ran_on(run: Path, tmp_path: Path) -> None:
    folder = RunFolder(run)
    first = next(c for c in folder.cells() if not folder.problem(c))
    path = first.folder / "status.json"
    path.write_text(json.dumps(json.loads(path.read_text()) | {"machine": {"cpu": {"model": "Another"}}}))
    cells = kept.keep(run, tmp_path / "kept.json")
    assert not any("indexed" in c for c in cells)
    models = {c["system"]: c["machine"]["cpu"]["model"] for c in cells}
    assert models.pop(first.system) == "Another"
    assert set(models.values()) == {"Invented CPU"}


def test_an_index_of_an_earlier_cell_is_told(run: Path, tmp_path: Path) -> None:
    folder = RunFolder(run)
    first = next(c for c in folder.cells() if not folder.problem(c))
    path, indexed = first.folder / "status.json", {"ended": "then"}
    path.write_text(json.dumps(json.loads(path.read_text()) | {"indexed": indexed}))
    told = {c["system"]: c.get("indexed") for c in kept.keep(run, tmp_path / "kept.json")}
    assert told.pop(first.system) == indexed
    assert set(told.values()) == {None}


def test_a_set_cut_to_fewer_queries_says_so_in_the_caption(run: Path, tmp_path: Path) -> None:
    record = json.loads((run / "experiment.json").read_text())
    (card,) = record["datasets"].values()
    card["protocol"]["sample"] = "the 120 of 900 test queries with the smallest hash"
    (run / "experiment.json").write_text(json.dumps(record))
    kept.keep(run, tmp_path / "kept.json")
    assert "120 queries (the 120 of 900 test queries with the smallest hash), data" in markdown(tmp_path / "kept.json")
