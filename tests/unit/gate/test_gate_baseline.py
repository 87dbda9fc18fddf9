"""The baseline's two files: what they hold, that they belong together, and that they are written whole."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pyarrow.parquet as pq
import pytest

from harness import atomic
from harness.errors import ConfigError, DataError, HarnessError, StorageError
from harness.gate import baseline as kept
from harness.gate import updating
from tests.unit.gate.sample import DATASET, write_run

THIRD = 1 / 3
VALUES = {"RR@5": [1.0, THIRD, 0.0], "Success@1": [1.0, 0.0, 0.0]}


@pytest.fixture
def file(tmp_path: Path) -> Path:
    path = tmp_path / "ci" / "gate.json"
    updating.update(write_run(tmp_path / "run", {"dense": VALUES, "bm25": VALUES}), path)
    return path


def test_figures_stand_one_a_line_in_the_json_file(file: Path) -> None:
    lines = [line.strip() for line in file.read_text().splitlines()]
    assert '"RR@5": 0.444444,' in lines
    assert '"checksum": "c0ffeec0ffeec0ffeec0ffeec0ffeec0ffeec0ffeec0ffeec0ffeec0ffee",' in lines
    assert '"0": "bm25-settings"' in lines
    assert {'"min_drop": 0.01,', '"alpha": 0.05,', '"reference": "bm25",', '"harness_version": "0.1.0",'} <= set(lines)
    systems = json.loads(file.read_text())["datasets"][DATASET]["systems"]
    assert list(systems) == ["bm25", "dense"]
    assert systems["dense"]["ratios"] == {"latency": 1.0, "memory": 1.0}
    assert systems["bm25"]["ratios"] == {}
    assert systems["bm25"]["sizes_bytes"] == {"index": 1_000, "parameters": 0}


def test_values_of_queries_are_32_bit_floats_beside_it(file: Path) -> None:
    table = pq.read_table(file.with_suffix(".parquet"))
    assert [(field.name, str(field.type)) for field in table.schema] == [
        ("dataset", "string"),
        ("system", "string"),
        ("qid", "string"),
        ("RR@5", "float"),
        ("Success@1", "float"),
    ]
    assert kept.read(file).values[DATASET, "dense"]["RR@5"] == {
        "q0": 1.0,
        "q1": pytest.approx(THIRD, abs=1e-7),
        "q2": 0.0,
    }


def test_the_same_run_gives_the_same_bytes(file: Path, tmp_path: Path) -> None:
    before = [path.read_bytes() for path in (file, kept.parquet_of(file))]
    updating.update(tmp_path / "run", file)
    assert [path.read_bytes() for path in (file, kept.parquet_of(file))] == before


def test_three_thousand_queries_of_ten_systems_stay_small(tmp_path: Path) -> None:
    values = {f"m{m}": [(q * 7919 + m) % 11 / 10 for q in range(3_000)] for m in range(8)}
    file = tmp_path / "gate.json"
    updating.update(write_run(tmp_path / "run", {f"s{i}": values for i in range(10)}), file)
    assert kept.parquet_of(file).stat().st_size < 400_000
    assert file.stat().st_size < 10_000


def test_an_update_keeps_thresholds_and_takes_new_ones(file: Path, tmp_path: Path) -> None:
    edited = file.read_text().replace('"min_drop": 0.01', '"min_drop": 0.03')
    file.write_text(edited)
    updating.update(tmp_path / "run", file, {"alpha": 0.01})
    thresholds = kept.read(file).figures.thresholds
    assert (thresholds.min_drop, thresholds.alpha) == (0.03, 0.01)


def test_hostile_names_come_back(tmp_path: Path) -> None:
    name = 'a "b"\n<c>|::error::'
    file = tmp_path / "gate.json"
    updating.update(write_run(tmp_path / "run", {"bm25": VALUES}, dataset=name), file)
    assert list(kept.read(file).cells()) == [(name, "bm25")]


@pytest.mark.parametrize(
    ("spoil", "error", "told"),
    [
        (lambda file: file.unlink(), DataError, "--update"),
        (lambda file: file.write_text("{"), DataError, "a baseline in JSON"),
        (lambda file: file.write_text("[]"), DataError, "list"),
        (lambda file: file.write_bytes(b"\xff"), DataError, "a baseline in JSON"),
        (lambda file: kept.parquet_of(file).unlink(), DataError, "gate.parquet"),
        (lambda file: kept.parquet_of(file).write_bytes(b"PAR1"), DataError, "another one"),
        (lambda file: edit(file, '"min_drop"', '"min_dorp"'), ConfigError, "write thresholds.min_drop"),
        (lambda file: edit(file, '"alpha": 0.05', '"alpha": 0'), ConfigError, "alpha"),
        (lambda file: edit(file, '"format": 1', '"format": 2'), ConfigError, "format"),
        (lambda file: edit(file, "0.444444", "0.9"), DataError, "RR@5 of bm25 on animals to be the mean"),
        (lambda file: edit(file, '"RR@5": 0.444444,', ""), DataError, "RR@5 of bm25 on animals"),
    ],
)
def test_what_cannot_be_used_is_refused_with_what_to_do(
    file: Path, spoil: Callable[[Path], Any], error: type[HarnessError], told: str
) -> None:
    spoil(file)
    with pytest.raises(error, match="gate") as caught:
        kept.read(file)
    assert told in str(caught.value)


def test_a_system_taken_out_by_hand_is_refused(file: Path) -> None:
    table = json.loads(file.read_text())
    del table["datasets"]["animals"]["systems"]["bm25"]
    file.write_text(json.dumps(table))
    with pytest.raises(DataError, match="bm25 on animals, of which the values of each query are there"):
        kept.read(file)


def edit(file: Path, old: str, new: str) -> None:
    text = file.read_text()
    assert old in text
    file.write_text(text.replace(old, new, 1))


def test_a_damaged_parquet_file_of_the_right_sum_is_refused(file: Path) -> None:
    beside = kept.parquet_of(file)
    old = kept.figures_of(file).per_query_sha256
    beside.write_bytes(b"no parquet")
    edit(file, old, hashlib.sha256(b"no parquet").hexdigest())
    with pytest.raises(DataError, match="the values of each query"):
        kept.read(file)


def test_a_disk_that_fills_up_leaves_both_files_as_they_were(
    file: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    before = {path.name: path.read_bytes() for path in file.parent.iterdir()}
    changed = write_run(tmp_path / "run2", {"bm25": {"RR@5": [0.0] * 3}})

    def full(path: Path) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(atomic, "_flush_to_disk", full)
    with pytest.raises(StorageError, match="the baseline of a gate"):
        updating.update(changed, file)
    assert {path.name: path.read_bytes() for path in file.parent.iterdir()} == before
