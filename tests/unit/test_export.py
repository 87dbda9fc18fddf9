"""TREC files that every tool orders alike, and a folder that appears whole or not at all."""

from __future__ import annotations

from itertools import pairwise
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from harness.atomic import new_folder
from harness.errors import ConfigError, StorageError
from harness.export import falling, qrels_lines, run_lines
from harness.types import Hit

SCORES = st.lists(st.floats(allow_nan=False, allow_infinity=False), max_size=30).map(lambda s: sorted(s, reverse=True))


@given(SCORES)
def test_scores_fall_strictly_in_32_and_in_64_bits(scores: list[float]) -> None:
    written = falling(scores)
    for kind in (np.float32, float):
        read = [kind(text) for text in written]
        assert all(before > after for before, after in pairwise(read))
        assert np.isfinite(read).all()


def test_scores_that_32_bits_tell_apart_stay_as_they_are() -> None:
    assert falling([3.25, 0.1, 1e-9, -2.0]) == ["3.25", "0.1", "1e-09", "-2.0"]
    # The next 32-bit number below 1 is 1 - 2 ** -24.
    assert [float(np.float32(text)) for text in falling([1.0, 1.0, 1.0 - 1e-12])] == [1.0, 1 - 2**-24, 1 - 2**-23]


def test_scores_beyond_32_bits_become_places() -> None:
    assert falling([0.0, -1e300, -1e301]) == ["3", "2", "1"]


def test_ids_stand_as_they_are_unless_they_hold_white_space() -> None:
    assert list(run_lines({"q 1": [Hit("50%", 1.0), Hit("5% b", 0.5)]}, "my run")) == [
        "q%201 Q0 50% 1 1.0 my%20run\n",
        "q%201 Q0 5%25%20b 2 0.5 my%20run\n",
    ]
    assert list(qrels_lines({"q 1": {"50%": -1, "5% b": 2}})) == ["q%201 0 50% -1\n", "q%201 0 5%25%20b 2\n"]


def test_a_folder_appears_whole_or_not_at_all(tmp_path: Path) -> None:
    with new_folder(tmp_path / "deep" / "out", "it") as part:
        (part / "a").write_text("1")
        assert not (tmp_path / "deep" / "out").exists()
    assert [p.name for p in (tmp_path / "deep").rglob("*")] == ["out", "a"]
    with pytest.raises(ZeroDivisionError), new_folder(tmp_path / "half", "it") as part:
        (part / "a").write_text("1")
        raise ZeroDivisionError
    assert [p.name for p in tmp_path.iterdir()] == ["deep"]


def test_what_is_there_is_never_touched(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("mine")
    (tmp_path / "link").symlink_to(tmp_path / "nowhere")
    for path in (tmp_path, tmp_path / "file", tmp_path / "link"):
        with pytest.raises(ConfigError, match="not there yet"), new_folder(path, "it"):
            raise AssertionError
    assert sorted(p.name for p in tmp_path.iterdir()) == ["file", "link"]


@pytest.mark.parametrize("place", ["file/out", "x" * 300])
def test_a_file_system_that_refuses_is_named(tmp_path: Path, place: str) -> None:
    (tmp_path / "file").write_text("mine")
    with pytest.raises(StorageError, match="to write the files"), new_folder(tmp_path / place, "the files"):
        raise AssertionError
