"""Settings that a system declares to be of its search alone: without dev queries they change nothing that is saved."""

from __future__ import annotations

from pathlib import Path
from typing import Any, cast

import pytest

from baselines.dsi import DSI
from harness import registry
from harness.retriever import Retriever, System, Tunable
from harness.types import Corpus, Passage, Query, Split
from harness.validation import validated
from selfretrieval.retriever import SELF_RETRIEVAL
from tests.lm_models import tiny_folder

CORPUS = Corpus.from_passages(
    [
        Passage("a.0", "Paris", "Paris is the capital of all France. It lies on the river Seine in France.", "a"),
        Passage("a.1", "Paris", "A town with many very old houses. Nobody knows how old it really is.", "a"),
        Passage("b.0", "Rome", "Rome is the capital of Italy and very old. The river there is called Tiber.", "b"),
    ]
)
TRAIN = Split(
    "train",
    (Query("q1", "which river", ("Seine",)), Query("q2", "capital of Italy", ("Rome",))),
    {"q1": {"a.0": 1}, "q2": {"b.0": 1}},
)
NO_DEV = Split("dev", (), {})
OTHERS: dict[str, dict[str, Any]] = {
    "dsi": {"beam_size": 2, "query_batch": 1},
    "self-retrieval": {
        "title_beams": 2,
        "passage_beams": 3,
        "tau": 0.3,
        "delta": 0.2,
        "softmax_per_title": True,
        "assessment_score": "first",
        "candidates": "all",
        "passage_cache_gb": 0.5,
        "judged": 2,
        "ranking": "log-linear",
        "weights": {"title": 0.5, "acceptance": 2.0},
        "query_batch": 1,
        "answer_tokens": 4,
        "answer_candidates": 2,
    },
}
"""Another value than the default of each."""
SYSTEMS = {system.name: system for system in (DSI, SELF_RETRIEVAL)}


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> str:
    return tiny_folder(tmp_path_factory.mktemp("tiny"))


def saved(retriever: Retriever, folder: Path) -> dict[str, bytes]:
    folder.mkdir(parents=True)
    retriever.save(folder)
    return {str(p.relative_to(folder)): p.read_bytes() for p in folder.rglob("*") if p.is_file()}


def indexed(system: System, backbone: str, **changes: Any) -> Retriever:
    training = {"tokens": 600, "frozen_layers": 0, "dtype": "float32"}
    table = {"backbone": backbone, "training": training, "dtype": "float32", **changes}
    retriever = system.build(validated(system.config, table, "test"), 0)
    retriever.index(CORPUS, TRAIN, NO_DEV)
    return retriever


def test_all_systems_that_declare_some_are_here_and_can_be_tuned() -> None:
    declaring = {name: system for name in registry.names() if (system := registry.get(name)).of_search}
    assert declaring.keys() == OTHERS.keys()
    for name, system in declaring.items():
        assert system.of_search == OTHERS[name].keys() <= system.config.model_fields.keys()
        assert isinstance(system.build(system.config(), 0), Tunable)
        # These are not written down at their default, so nobody could be told to go back to it.
        assert not system.of_search & getattr(system.config, "added", frozenset())


@pytest.mark.parametrize("name", OTHERS)
def test_what_is_saved_does_not_depend_on_them(name: str, folder: str, tmp_path: Path) -> None:
    system = SYSTEMS[name]
    first = saved(indexed(system, folder), tmp_path / "first")
    for setting, value in OTHERS[name].items():
        made = saved(indexed(system, folder, **{setting: value}), tmp_path / setting / "made")
        # Only the settings themselves differ, which stand in one small file.
        assert sum(made[file] != first[file] for file in first) == 1, setting
        tuned = cast(Tunable, system.load(tmp_path / "first")).with_settings(**{setting: value})
        assert saved(tuned, tmp_path / setting / "tuned") == made, setting
