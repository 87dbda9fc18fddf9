"""Reading one JSON array element by element: the same elements as json.loads, whatever the size of what is read."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from harness.datasets import jsonarray
from harness.errors import DataError

VALUES = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | st.text(),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(), inner, max_size=4),
    max_leaves=8,
)
NUMBERS = st.lists(st.integers() | st.floats(allow_nan=False))
"""Numbers are what may look whole where they are cut off."""


def read(path: Path) -> list[Any]:
    return [item for _, item in jsonarray.items(path)]


@settings(max_examples=150, deadline=None)
@given(
    values=st.lists(VALUES, max_size=6) | NUMBERS,
    indent=st.sampled_from([None, 0, 2]),
    ascii_only=st.booleans(),
    step=st.sampled_from([1, 2, 3, 7, 64]),
)
def test_the_elements_of_json_loads(
    tmp_path_factory: pytest.TempPathFactory, values: list[Any], indent: int | None, ascii_only: bool, step: int
) -> None:
    path = tmp_path_factory.mktemp("array") / "a.json"
    text = json.dumps(values, indent=indent, ensure_ascii=ascii_only)
    path.write_text(text, encoding="utf-8")
    expected = json.loads(path.read_text(encoding="utf-8"))
    with pytest.MonkeyPatch.context() as patched:
        patched.setattr(jsonarray, "_READ_BYTES", step)
        assert read(path) == expected


def test_lines_are_those_the_elements_begin_in(tmp_path: Path) -> None:
    path = tmp_path / "a.json"
    path.write_bytes(b'\xef\xbb\xbf[\n 1,\n\n {"a":\n 2}, "x"\n]\n')
    assert [(place.line, item) for place, item in jsonarray.items(path)] == [(2, 1), (4, {"a": 2}), (5, "x")]


def test_a_long_element_is_read_whole(tmp_path: Path) -> None:
    path = tmp_path / "a.json"
    long = "ä" * 3_000_000
    path.write_text(json.dumps([long, 12345], ensure_ascii=False), encoding="utf-8")
    assert read(path) == [long, 12345]


BAD = {
    "empty": ("", 1, "the end of the file"),
    "an object": ('{"a": 1}', 1, "'{'"),
    "lines of objects": ('{"a": 1}\n{"a": 2}\n', 1, "'{'"),
    "cut off in a string": ('[1,\n"abc', 2, "Unterminated string"),
    "cut off in an object": ('[1,\n{"a": 2,\n', 3, "Expecting property name"),
    "cut off behind an element": ("[1\n", 2, "the end of the file"),
    "no comma": ("[1\n 2]", 2, "'2'"),
    "comma at the end": ("[1,\n]", 2, "Expecting value"),
    "bad word far inside": ('[1,\n{"a": nix, "b": "' + "x" * 100 + '"}]', 2, "Expecting value"),
    "more behind": ("[1]\n[2]", 2, "more behind its end"),
    "deep": ("[\n" + "[" * 100_000, 2, "cannot be read"),
    "control character": ('[1,\n"a\tb"]', 2, "Invalid control character"),
}


@pytest.mark.parametrize("case", BAD)
def test_what_is_no_array(case: str, tmp_path: Path) -> None:
    text, line, got = BAD[case]
    path = tmp_path / "a.json"
    path.write_text(text, encoding="utf-8")
    with pytest.raises(DataError) as caught:
        read(path)
    assert got in caught.value.got
    assert (caught.value.file, caught.value.line) == (path, line)


def test_other_bytes_and_no_file(tmp_path: Path) -> None:
    path = tmp_path / "a.json"
    path.write_bytes(b'[1,\n2,\n"caf\xe9"]')
    with pytest.raises(DataError) as caught:
        read(path)
    assert (caught.value.line, caught.value.expected) == (3, "a text file in UTF-8")
    with pytest.raises(DataError, match="no such file"):
        read(tmp_path / "b.json")


def test_an_element_without_end_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(jsonarray, "_LONGEST", 1000)
    monkeypatch.setattr(jsonarray, "_READ_BYTES", 100)
    path = tmp_path / "a.json"
    path.write_text('["' + "x" * 5000 + '"]')
    with pytest.raises(DataError, match="a longer one"):
        read(path)
