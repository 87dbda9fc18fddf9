"""Experiments that are meant to harm: refused with one message that names the file, at once."""

from __future__ import annotations

import os
from collections.abc import Mapping
from pathlib import Path

import pytest

from harness import experiment, overrides
from harness.errors import ConfigError
from harness.experiment import LONGEST_BYTES, Experiment
from tests.property.hostile import within

HEAD = 'name = "x"\n'
TAIL = '\n[datasets."vital-articles/500"]\n[systems.bm25]\n'
BAD: Mapping[str, tuple[str, str]] = {
    "a gigantic number": ("seeds = [" + "1" * 5000 + "]", "4300"),
    "a gigantic number in hex": ("seeds = [0x" + "f" * 10_000 + "]", "4300"),
    "arrays of arrays": ("seeds = " + "[" * 50_000, "recursion"),
    "a table 5,000 deep": ("a" + ".a" * 5000 + " = 1", "recursion"),
    "no number": ("limits.time_s = nan", "limits.time_s = nan"),
    "no end": ("limits.memory_gb = inf", "limits.memory_gb = inf"),
    "a number that is infinite": ("limits.memory_gb = 1e999", "limits.memory_gb = inf"),
    "a system's setting without end": ("[systems.other]\nsystem = 'bm25'\nk1 = inf", "systems.other.k1 = inf"),
    "in a list": ("seeds = [0, nan]", "seeds.1 = nan"),
    "below 0": ("seeds = [-1]", "seeds.0 = -1"),
    "a date": ("limit = 1979-05-27", "limit = '1979-05-27'"),
    "a time": ("depth = 07:32:00", "depth = '07:32:00'"),
    "a number as text": ('depth = "100"', "depth = '100'"),
    "yes as a number": ("depth = true", "depth = True"),
    "an unknown key": ("dept = 100", "the unknown key dept"),
    "a NUL as it is": ("title = 'a\0b'", "line 2"),
    "half a pair": ('title = "\\ud800"', "line 2"),
    "a long text for a number": (f"depth = {'x' * 100_000!r}", "(100,002 characters)"),
    "a name that climbs": ('[systems."../../up"]\nsystem = "bm25"', 'systems."../../up"'),
}


def refuse(path: Path | str) -> ConfigError:
    with within(5), pytest.raises(ConfigError) as caught:
        experiment.load(str(path))
    assert len(str(caught.value)) < 4000
    return caught.value


@pytest.mark.parametrize("case", BAD)
def test_values_that_cannot_be_used(case: str, tmp_path: Path) -> None:
    text, got = BAD[case]
    path = tmp_path / "e.toml"
    path.write_text(HEAD + text + TAIL)
    error = refuse(path)
    assert got in error.got
    assert str(path) in str(error)


@pytest.mark.parametrize("depth", [50, 150, 250, 450, 850, 900, 950, 1000, 1100])
@pytest.mark.parametrize("form", ["a{} = 1", "[systems.bm25{}]", "seeds = {}"])
def test_tables_in_tables(depth: int, form: str, tmp_path: Path) -> None:
    inner = "[" * depth + "]" * depth if "seeds" in form else ".a" * depth
    path = tmp_path / "e.toml"
    path.write_text(HEAD + form.format(inner) + TAIL.replace("[systems.bm25]", "[systems.dense]"))
    try:
        experiment.load(str(path))
    except ConfigError as error:
        assert len(str(error)) < 10_000


def test_the_frame_of_these_is_sound(tmp_path: Path) -> None:
    (tmp_path / "e.toml").write_text(HEAD + TAIL)
    assert experiment.load(str(tmp_path / "e.toml")).name == "x"


def test_a_file_that_is_too_long_to_be_one(tmp_path: Path) -> None:
    path = tmp_path / "e.toml"
    path.write_text(HEAD + TAIL + "#" * LONGEST_BYTES)
    assert refuse(path).expected.startswith("at most 1,048,576 bytes of TOML in ")
    path.write_text((HEAD + TAIL + "#" * LONGEST_BYTES)[:LONGEST_BYTES])
    assert experiment.load(str(path)).name == "x"


@pytest.mark.parametrize("kind", ["pipe", "device", "folder", "circle", "nothing", "NUL"])
def test_what_is_no_file(kind: str, tmp_path: Path) -> None:
    path = tmp_path / "e.toml"
    if kind == "pipe":
        os.mkfifo(path)
    elif kind == "device":
        path.symlink_to("/dev/zero")
    elif kind == "folder":
        path.mkdir()
    elif kind == "circle":
        path.symlink_to(path)
    assert "an experiment's TOML file" in refuse(f"{path}\0/x" if kind == "NUL" else path).expected


@pytest.mark.parametrize("value", ["[" * 50_000, "1" * 5000, "0x" + "f" * 10_000])
def test_settings_of_the_command_line(value: str) -> None:
    whole = Experiment.from_table({"name": "x", "datasets": {"d": {}}, "systems": {"bm25": {}}}, "a table")
    with within(5), pytest.raises(ConfigError) as caught:
        whole.with_overrides(sets=[f"depth={value}"])
    assert len(str(caught.value)) < 12_000
    assert overrides.parse_setting("depth=5") == (["depth"], 5)
