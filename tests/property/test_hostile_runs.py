"""Hostile run files: of other programs, which anybody may write, and in the place of our own."""

from __future__ import annotations

import gzip
import math
from pathlib import Path

from hypothesis import strategies as st

from harness import outside, runfile
from harness.datasets import load
from harness.errors import HarnessError
from harness.ranking import validate
from tests.property.hostile import (
    SMALL_SET,
    TEXTS,
    damaged,
    fuzz,
    lines,
    mostly,
    place,
    put,
    refused,
    unchanged,
)

QIDS = mostly(st.sampled_from(["q1", "q2", "q%31"]), TEXTS, 30)
DOCIDS = mostly(st.sampled_from(["d1", "d2", "d3", "d%34"]), TEXTS, 30)
RANKS = mostly(st.integers(0, 9).map(str), st.sampled_from(["-1", "x", "1.0", "9" * 18, "9" * 19, "٣", ""]), 30)
SCORES = mostly(
    st.floats(allow_nan=False, allow_infinity=False).map(repr),
    st.sampled_from(
        ["nan", "NaN", "inf", "-inf", "1e999", "-1e-999", "1_0", "0x1p3", "9" * 5000, "1" * 60_000, "", "."]
    ),
    30,
)
ROWS = st.tuples(QIDS, st.just("Q0"), DOCIDS, RANKS, SCORES, mostly(st.just("tag"), TEXTS, 30)).map(" ".join)
SOUND = b"q1 Q0 d1 1 2.5 tag\nq1 Q0 d2 2 1.5 tag\nq2 Q0 d%33 1 0.5 tag\n"
FILES = lines(ROWS, 0, 8) | damaged(SOUND)


@st.composite
def packed(draw: st.DrawFn) -> bytes:
    """Pack a file or not, and damage what was packed or not."""
    raw = draw(FILES)
    if draw(st.booleans()):
        return raw
    whole = gzip.compress(raw, mtime=0)
    return draw(mostly(st.just(whole), damaged(whole), 1))


def of_others(raw: bytes) -> str:
    with place() as folder:
        put(folder, {**SMALL_SET, "run": raw})
        dataset = load(f"beir:{folder}")
        source = outside.Source("other", dataset.name, str(folder / "run"))

        def read() -> str:
            try:
                found, run = outside.read(source, dataset, dataset.test, 3)
            except HarnessError as error:
                return refused(error)
            assert all(hit.docid in dataset.corpus.row_of for hits in run.values() for hit in hits)
            assert set(run) <= {query.qid for query in dataset.test.queries}
            validate(run, dataset.corpus.docids, 3)
            assert all(len(note) < 1000 for note in found.notes)
            return "loaded"

        return unchanged(folder, read)


def of_ours(raw: bytes) -> str:
    with place() as folder:
        path = folder / ("run.trec.gz" if raw[:2] == b"\x1f\x8b" else "run.trec")
        path.write_bytes(raw)
        return unchanged(folder, lambda: _read(path))


def _read(path: Path) -> str:
    said = "loaded"
    try:
        runfile.read_first(path)
    except HarnessError as error:
        refused(error)
    try:
        run = runfile.read_trec(path)
    except HarnessError as error:
        return refused(error)
    assert all(math.isfinite(hit.score) for hits in run.values() for hit in hits)
    return said


def test_any_run_of_others_is_read_or_refused() -> None:
    assert of_others(SOUND) == "loaded"
    seen = fuzz("runs of others", packed(), of_others)
    assert seen["loaded"] and seen["refused"]


def test_any_run_of_ours_is_read_or_refused() -> None:
    seen = fuzz("runs of ours", packed(), of_ours)
    assert seen["loaded"] and seen["refused"]
