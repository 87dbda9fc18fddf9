"""Hostile data through the command line: exit code 0 or 2, one bounded message, nothing left half done."""

from __future__ import annotations

import contextlib
import io
import shutil
from collections.abc import Mapping
from pathlib import Path

from hypothesis import strategies as st

from harness.cli import REFUSED, main
from harness.printable import printable
from tests.property.hostile import LONGEST_MESSAGE, SMALL_SET, fuzz, place, put, unchanged
from tests.property.test_hostile_archives import tars, zips
from tests.property.test_hostile_beir import damaged_sets, sound_sets
from tests.property.test_hostile_experiments import tables
from tests.property.test_hostile_runs import packed

Content = Mapping[str, bytes]

COMMANDS: Mapping[str, tuple[st.SearchStrategy[Content], tuple[str, ...]]] = {
    "a set": (sound_sets() | damaged_sets(), ("data", "convert", "beir:{folder}", "{out}")),
    "a look at a set": (sound_sets() | damaged_sets(), ("data", "inspect", "beir:{folder}", "--json", "{out}")),
    "a zip": (zips().map(lambda raw: {"s.zip": raw}), ("data", "split", "{folder}/s.zip", "{out}")),
    "a tar": (tars().map(lambda raw: {"s.tgz": raw}), ("data", "convert", "{folder}/s.tgz", "{out}")),
    "an experiment": (
        # No TOML, so that nothing is run.
        tables().map(lambda raw: {**SMALL_SET, "e.toml": raw + b"\n= broken"}),
        ("run", "{folder}/e.toml", "--out", "{out}"),
    ),
    "a run": (
        packed().map(lambda raw: {**SMALL_SET, "r.trec": raw + b"\nq1 Q0 d1 0 nan x"}),
        (
            "run",
            "quick",
            "--dataset",
            "beir:{folder}",
            "--systems",
            "bm25",
            "--run",
            "r={folder}/r.trec",
            "--out",
            "{out}",
        ),
    ),
}


@st.composite
def calls(draw: st.DrawFn) -> tuple[Content, tuple[str, ...]]:
    content, command = COMMANDS[draw(st.sampled_from(sorted(COMMANDS)))]
    return draw(content), command


def check(call: tuple[Content, tuple[str, ...]]) -> str:
    content, command = call
    with place() as folder:
        put(folder, content)
        out = folder.parent.parent / "out"
        arguments = [part.format(folder=folder, out=out) for part in command]
        said = unchanged(folder, lambda: _called(arguments, out))
        _remove(out)
        return said


def _called(arguments: list[str], out: Path) -> str:
    spoken, complained = io.StringIO(), io.StringIO()
    with contextlib.redirect_stdout(spoken), contextlib.redirect_stderr(complained):
        code = main(arguments)
    error = complained.getvalue()
    assert code in (0, REFUSED), error
    assert "Traceback" not in error
    assert printable(error) == error
    assert printable(spoken.getvalue()) == spoken.getvalue()
    if code == REFUSED:
        assert "expected" in error and len(error) <= LONGEST_MESSAGE
        assert not out.exists()
        return "refused"
    assert error == ""
    assert out.exists()
    return "loaded"


def _remove(out: Path) -> None:
    if out.is_dir():
        shutil.rmtree(out)
    out.unlink(missing_ok=True)


def test_any_data_is_taken_or_refused() -> None:
    seen = fuzz("the command line", calls(), check)
    assert seen["loaded"] and seen["refused"]
