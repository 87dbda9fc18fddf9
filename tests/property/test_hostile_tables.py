"""Hostile tables and folders of texts: each is loaded whole or refused with one clear message."""

from __future__ import annotations

import csv
import gzip
import io
import os
from collections.abc import Mapping
from pathlib import Path
from typing import NamedTuple

from hypothesis import strategies as st

from tests.property.hostile import (
    IDS,
    NASTY,
    RAW_JSON,
    TEXTS,
    damaged,
    fuzz,
    lines,
    mostly,
    objects,
    place,
    put,
    try_to_load,
    unchanged,
    written,
)


class Table(NamedTuple):
    """A file, and what stands behind its name."""

    name: str
    raw: bytes
    columns: str


COLUMNS = st.lists(
    mostly(st.sampled_from(["text", "title", "_id", "id", "question", "answer"]), TEXTS, 15), min_size=1, max_size=5
)
CHOICES = st.sampled_from(
    [
        "",
        "",
        "?query=question",
        "?query=question&answers=answer",
        "?docid=id&query=question&document=title",
        "?text=title",
        "?text=",
        "?=x",
        "?&&",
        "?nothing=x",
        "?answers=",
        "?",
        "?text=text?text=text",
        "?query=\x1b[31m",
    ]
)
ENDINGS = st.sampled_from([".csv", ".tsv", ".jsonl", ".ndjson", ".csv.gz", ".JSONL.GZ"])
NAMES = st.sampled_from(["faq", "", "İ", "a b", "[bold]", "x.csv", "-", "\x1b[31m", "\udce9"])
ROW = objects(
    {
        "_id": written(mostly(IDS, TEXTS, 20)) | st.sampled_from(["1", "2", "-3", *RAW_JSON]),
        "text": written(TEXTS),
        "title": written(mostly(st.none() | st.just("t"), TEXTS)),
        "question": written(TEXTS | st.none()),
        "answer": written(st.none() | TEXTS | st.lists(TEXTS, max_size=2) | st.just([1])),
        "": written(st.integers() | TEXTS),
    }
)


@st.composite
def delimited(draw: st.DrawFn, delimiter: str) -> bytes:
    """Write a table as CSV does; now and then a row has a column more or fewer."""
    heads = draw(COLUMNS | st.just(["_id", "text", "question", "answer", ""]))
    values = mostly(st.sampled_from(["a text", "b text", "1", "2", "3"]), TEXTS, 5)
    width = mostly(st.just(len(heads)), st.integers(0, 7), 30)
    rows = [[draw(values) for _ in range(draw(width))] for _ in range(draw(st.integers(0, 4)))]
    sink = io.StringIO()
    ends = draw(st.sampled_from(["\n", "\r\n", "\r"]))
    csv.writer(sink, delimiter=delimiter, lineterminator=ends, escapechar="\\").writerows([heads, *rows])
    return sink.getvalue().encode("utf-8", "surrogatepass")


@st.composite
def tables(draw: st.DrawFn) -> Table:
    ending = draw(ENDINGS)
    kind = ending.lower().removesuffix(".gz")
    raw = draw(lines(ROW)) if "json" in kind else draw(delimited("," if kind == ".csv" else "\t"))
    raw = draw(mostly(st.just(raw), damaged(raw), 6))
    return Table(draw(NAMES) + ending, _packed(raw, ending), draw(CHOICES))


def _packed(raw: bytes, ending: str) -> bytes:
    return gzip.compress(raw) if ending.lower().endswith(".gz") else raw


CSV = b'_id,text,question,answer,\r\n1,"A text, with ""quotes""","Which?",one,5\r\n2,Other text,"Two\r\nlines?",,\r\n'
JSONL = b'{"_id": 1, "text": "A", "question": "Which?", "answer": ["one", "two"], "": 5}\n{"_id": "x", "text": "B"}\n'


@st.composite
def damaged_tables(draw: st.DrawFn) -> Table:
    ending, whole = draw(st.sampled_from([(".csv", CSV), (".jsonl", JSONL), (".csv.gz", CSV), (".jsonl.gz", JSONL)]))
    raw = draw(damaged(whole))
    packed = draw(damaged(gzip.compress(raw, mtime=0))) if ending.endswith(".gz") else raw
    return Table(f"faq{ending}", packed, draw(st.sampled_from(["", "?query=question&answers=answer"])))


def check(table: Table) -> str:
    with place() as folder:
        put(folder, {table.name: table.raw})
        return unchanged(folder, lambda: try_to_load(f"table:{folder}/{table.name}{table.columns}"))


def test_any_table_is_loaded_or_refused() -> None:
    seen = fuzz("tables values", tables(), check)
    assert seen["loaded"] and seen["refused"]


def test_any_damage_to_a_table_is_loaded_or_refused() -> None:
    seen = fuzz("tables bytes", damaged_tables(), check)
    assert seen["loaded"] and seen["refused"]


FILE_NAMES = st.lists(
    st.sampled_from([name for name in NASTY if name and len(name) < 200 and "\0" not in name and "/" not in name])
    | st.text(st.characters(codec="utf-8", exclude_characters="/\0"), min_size=1, max_size=8),
    min_size=1,
    max_size=3,
).map("/".join)
TEXT_FILES = st.dictionaries(
    st.tuples(FILE_NAMES, st.sampled_from([".txt", ".md", ".MD", ".rst", ""])).map("".join),
    st.binary(max_size=30)
    | TEXTS.map(lambda text: text.encode("utf-8", "surrogatepass"))
    | damaged(b"# Title\n\nText."),
    min_size=1,
    max_size=5,
)


def check_texts(content: Mapping[str, bytes]) -> str:
    with place() as folder:
        for name, raw in content.items():
            if not ({".", ".."} & set(name.split("/"))):
                _put_if_possible(folder, name, raw)
        (folder / "circle").symlink_to(folder)
        (folder / "away.txt").symlink_to("/etc/hosts")
        return unchanged(folder, lambda: try_to_load(f"texts:{folder}"))


def _put_if_possible(folder: Path, name: str, raw: bytes) -> None:
    try:
        put(folder, {os.fsdecode(name.encode("utf-8", "surrogatepass")): raw})
    except OSError:
        return  # "a" and "a/b", or a name that is too long


def test_any_folder_of_texts_is_loaded_or_refused() -> None:
    seen = fuzz("texts", TEXT_FILES, check_texts)
    assert seen["loaded"] and seen["refused"]
