"""Hostile experiments and settings: each is taken as written, down to the files of the run, or refused."""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from pathlib import Path

from hypothesis import strategies as st

from harness import experiment, jsonfile, overrides, plan
from harness.datasets import DatasetSettings
from harness.errors import ConfigError, HarnessError
from harness.experiment import Experiment
from harness.validation import validated
from tests.property.hostile import (
    NASTY,
    SMALL_SET,
    TEXTS,
    damaged,
    fuzz,
    mostly,
    place,
    put,
    refused,
    unchanged,
)

SOUND = """
name = "sound"
seeds = [0, 1]
measures = ["RR@5", "Success@1"]
limits.time_s = 60
[datasets."beir:{folder}"]
max_test_queries = 1
[systems.bm25]
[systems.other]
system = "bm25"
b = 0.5
[runs.outside]
file = "{folder}/qrels/run.trec"
"""
RUN = b"q1 Q0 d1 1 2.5 tag\n"

WILD_VALUES = (
    "0",
    "-1",
    "1",
    "1e999",
    "nan",
    "inf",
    "-inf",
    "1" * 400,
    "1" * 5000,
    "0x" + "f" * 5000,
    "1979-05-27T07:32:00Z",
    "07:32:00",
    "true",
    "'text'",
    '""',
    '"\\u0000"',
    '"\\ud800"',
    '"\\u001b[31m"',
    "'''\n'''",
    "[]",
    "[[[]]]",
    "[" * 2000 + "]" * 2000,
    "{a = {b = 1}}",
    "[0, 0]",
    '["RR@5", "Nothing@3"]',
    '["RR@5"]',
    "[nan]",
    "9223372036854775808",
    "0.75",
    "2",
)
KEYS = st.sampled_from(
    [
        "name",
        "title",
        "description",
        "seeds",
        "split",
        "limit",
        "depth",
        "primary",
        "measures",
        "limits.time_s",
        "limits.memory_gb",
        "latency.queries",
        "latency.warmup",
        "batch.size",
        'datasets."beir:{folder}".max_passage_words',
        'datasets."beir:{folder}".max_documents',
        'datasets."beir:{folder}".overlap',
        'datasets."beir:{folder}".resplit.shares',
        'datasets."beir:{folder}".resplit.seed',
        'datasets."beir:{folder}".columns.text',
        'datasets."beir:{folder}".tables.train',
        'datasets."beir:~\\u0000"',
        "datasets.nowhere.max_test_queries",
        "systems.bm25.b",
        "systems.bm25.k1",
        "systems.bm25.variant",
        "systems.bm25.system",
        'systems."../up"',
        "systems.dense.batch_size",
        "systems.oracle.hits",
        "runs.outside.file",
        "runs.outside.files",
        'runs."a b".file',
        "a" + ".a" * 3000,
        '"\\u202e"',
        "b.c",
    ]
)
VALUES = st.sampled_from(WILD_VALUES) | TEXTS.map(json.dumps) | st.integers().map(str) | st.floats().map(repr)


@st.composite
def tables(draw: st.DrawFn) -> bytes:
    """Write an experiment that is sound but for some keys."""
    written = dict(re.findall(r"^([a-z_.]+) = (.*)$", SOUND.split("[datasets", maxsplit=1)[0], re.MULTILINE))
    for key, value in draw(st.lists(st.tuples(KEYS, VALUES), max_size=3)):
        written[key] = value
    if draw(st.integers(0, 9)) == 9:
        written.pop(draw(st.sampled_from(sorted(written))))
    tail = draw(
        mostly(st.just(""), st.sampled_from(["\n[systems]\n", "\n[systems.bm25]\n", "\nx", "\0", "\ufeff"]), 20)
    )
    systems = draw(st.sampled_from(["systems.bm25 = {}", "systems.bm25.b = 0.5", 'systems.other = {system = "bm25"}']))
    head = "\n".join(f"{key} = {value}" for key, value in written.items())
    sets = "" if "datasets." in head and draw(st.booleans()) else 'datasets."beir:{folder}" = {}'
    return f"{head}\n{sets}\n{systems}{tail}".encode("utf-8", "surrogatepass")


def check(raw: bytes) -> str:
    with place() as folder:
        put(folder, {**SMALL_SET, "qrels/run.trec": RUN, "e.toml": raw.replace(b"{folder}", str(folder).encode())})
        said = unchanged(folder, lambda: _planned(str(folder / "e.toml")))
        if said == "loaded":
            _written_as_read(folder)
        return said


def _planned(path: str) -> str:
    try:
        found = experiment.load(path)
        assert Experiment.from_table(found.table(), "itself") == found
        plan.prepare(found, Path("runs"))
    except HarnessError as error:
        return refused(error)
    return "loaded"


def _written_as_read(folder: Path) -> None:
    """What the processes of a cell are told is what was planned."""
    prepared = plan.prepare(experiment.load(str(folder / "e.toml")), folder)
    for cell in prepared.cells:
        told = dict(plan.spec(prepared, cell, 1))
        jsonfile.write_json(folder / "spec.json", told, "a task")
        assert jsonfile.read_object(folder / "spec.json") == json.loads(json.dumps(told))
        assert len(prepared.cells) < 1000


def test_any_experiment_is_planned_or_refused() -> None:
    assert check(SOUND.encode()) == "loaded"
    seen = fuzz("experiments values", tables(), check)
    assert seen["loaded"] and seen["refused"]


def test_any_damage_to_an_experiment_is_planned_or_refused() -> None:
    seen = fuzz("experiments bytes", damaged(SOUND.encode()), check)
    assert seen["loaded"] and seen["refused"]


SETTINGS = st.tuples(KEYS | TEXTS | st.sampled_from(sorted(DatasetSettings.model_fields)), VALUES).map("=".join)
TABLE: Mapping[str, object] = {"name": "x", "datasets": {"beir:{folder}": {}}, "systems": {"bm25": {}}}


def changed(setting: str) -> str:
    whole = Experiment.from_table(TABLE, "a table")
    said = "loaded"
    try:
        whole.with_overrides(sets=[setting])
    except HarnessError as error:
        said = refused(error)
    try:
        path, value = overrides.parse_setting(setting)
        validated(DatasetSettings, {path[0]: value}, "a setting")
    except ConfigError as error:
        refused(error)
    return said


def test_any_setting_of_the_command_line_is_taken_or_refused() -> None:
    assert changed("depth=5") == "loaded"
    seen = fuzz("settings", SETTINGS | st.sampled_from(NASTY) | st.text(max_size=40), changed)
    assert seen["refused"]
