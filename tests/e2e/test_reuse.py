"""An index is made once: what is only measured or searched in another way takes over that of before."""

from __future__ import annotations

import shutil
from pathlib import Path
from typing import Any

import pytest

from harness import runner
from harness.child import Outcome
from harness.store import RunFolder
from tests.e2e.trial import HERE, SCRIPTED, cell, files, go, status, tiny

__all__ = ["tiny"]

TRAIN = {"scripted": {"system": SCRIPTED, "how": "train"}}
TURNED = {"scripted": {"system": SCRIPTED, "how": "train", "last": False}}
MEASURED = ("index_s", "save_s", "train_tokens", "rss_base_bytes")


@pytest.fixture
def tasks(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """What the processes of the cells were started for."""
    seen: list[str] = []
    run_child = runner.run_child

    def noted(task: str, *args: Any, **keys: Any) -> Outcome:
        seen.append(task)
        return run_child(task, *args, **keys)

    monkeypatch.setattr(runner, "run_child", noted)
    return seen


@pytest.mark.parametrize(
    "changes",
    [{"limit": 3}, {"latency": {"queries": 2}}, {"batch": {"size": 2}}, {"depth": 150}, {"measures": ["RR@5", "R@7"]}],
    ids=lambda changes: next(iter(changes)),
)
def test_measuring_otherwise_keeps_the_index_and_what_it_cost(
    tmp_path: Path, tasks: list[str], changes: dict[str, Any]
) -> None:
    go(TRAIN, tmp_path)
    before, model, log = (
        cell(tmp_path, "scripted"),
        files(cell(tmp_path, "scripted").model),
        status(tmp_path, "scripted"),
    )
    costs = {key: before.meter()[key] for key in MEASURED}  # type: ignore[literal-required]
    peak = before.meter()["rss_peak_bytes"]["index"]
    summary, seen = go(TRAIN, tmp_path, **changes)
    after = cell(tmp_path, "scripted")
    assert tasks == ["index", "search", "search"]
    assert (summary.done, summary.reused) == (1, 0)
    assert seen.events["scripted"][0]["phase"] == "take over the index of before"
    assert files(after.model) == model
    assert {key: after.meter()[key] for key in MEASURED} == costs  # type: ignore[literal-required]
    assert after.meter()["rss_peak_bytes"]["index"] == peak
    assert [row["loss"] for row in after.training()] == [2.0, 1.0]
    assert status(tmp_path, "scripted")["indexed"] == {"ended": log["ended"]}
    assert [n for n in RunFolder(tmp_path).experiment()["notes"] if n.startswith(runner.INDEX_KEPT)] == [
        f"{runner.INDEX_KEPT} scripted on tiny (seed 0)."
    ]


def test_gpu_memory_of_indexing_is_kept_and_that_of_the_search_of_before_is_not(tmp_path: Path) -> None:
    go(TRAIN, tmp_path)
    before = cell(tmp_path, "scripted")
    before.write_meter({**before.meter(), "gpu_peak_index_bytes": 5, "gpu_peak_bytes": 70})
    go(TRAIN, tmp_path, limit=3)
    assert cell(tmp_path, "scripted").meter()["gpu_peak_bytes"] == 5


def test_other_queries_give_other_hits(tmp_path: Path) -> None:
    go(TRAIN, tmp_path)
    go(TRAIN, tmp_path, limit=3)
    assert list(cell(tmp_path, "scripted").run()) == ["test5", "test6", "test7"]
    assert len(cell(tmp_path, "scripted").meter()["latency_samples_ms"]) == 3


def test_searching_otherwise_without_dev_queries_saves_the_index_again(tmp_path: Path, tasks: list[str]) -> None:
    go(TRAIN, tmp_path, split="dev")
    first = cell(tmp_path, "scripted").run()
    go(TURNED, tmp_path, split="dev")
    assert tasks == ["index", "search", "retune", "search"]
    found = cell(tmp_path, "scripted")
    assert found.run() != first
    go(TURNED, tmp_path / "made", split="dev")
    made = cell(tmp_path / "made", "scripted")
    assert found.run() == made.run()
    assert files(found.model) == files(made.model)
    assert sorted(p.name for p in found.path.iterdir()) == sorted(p.name for p in made.path.iterdir())
    assert found.meter()["model_bytes"] == made.meter()["model_bytes"]
    # And back: what the second cell did with the model it took over has not touched what it is made of.
    go(TRAIN, tmp_path, split="dev", limit=2)
    assert tasks[-2:] == ["retune", "search"]
    assert list(cell(tmp_path, "scripted").run().values()) == list(first.values())


def test_where_dev_queries_may_choose_another_search_is_another_index(tmp_path: Path, tasks: list[str]) -> None:
    go(TRAIN, tmp_path)
    go(TURNED, tmp_path)
    assert tasks == ["index", "search"] * 2
    assert "indexed" not in status(tmp_path, "scripted")


@pytest.mark.parametrize(
    ("systems", "keys"),
    [
        (TRAIN, {"fresh": True, "limit": 3}),
        (TRAIN, {"seeds": [1]}),
        (TRAIN, {"split": "dev"}),
        (TRAIN, {"datasets": {"tiny": {"max_passage_words": 17}}}),
        ({"scripted": {"system": SCRIPTED, "how": "train", "words": ["a"]}}, {"limit": 3}),
    ],
    ids=["fresh", "seed", "dev withheld", "data", "setting"],
)
def test_what_changes_the_index_makes_it_again(
    tmp_path: Path, tasks: list[str], systems: dict[str, Any], keys: dict[str, Any]
) -> None:
    go(TRAIN, tmp_path)
    go(systems, tmp_path, **keys)
    assert tasks == ["index", "search"] * 2


def test_a_system_without_settings_of_search_is_not_given_the_dev_queries_it_is_asked(
    tmp_path: Path, tasks: list[str]
) -> None:
    go({"random": {}}, tmp_path)
    go({"random": {}}, tmp_path, split="dev")
    assert tasks == ["index", "search"] * 2


def test_a_failed_or_damaged_cell_is_indexed_again(tmp_path: Path, tasks: list[str]) -> None:
    failing = {"scripted": {"system": SCRIPTED, "how": "raise", "when": "search"}}
    go(failing, tmp_path)
    go(failing, tmp_path)
    assert tasks == ["index", "search"] * 2
    go(TRAIN, tmp_path / "other")
    for path in cell(tmp_path / "other", "scripted").model.iterdir():
        path.unlink()
    cell(tmp_path / "other", "scripted").model.rmdir()
    go(TRAIN, tmp_path / "other", limit=3)
    assert tasks[-2:] == ["index", "search"]


def test_the_oracle_is_told_again(tmp_path: Path, tasks: list[str]) -> None:
    go({"oracle": {}}, tmp_path, limit=3)
    go({"oracle": {}}, tmp_path, limit=4)
    assert tasks == ["index", "search"] * 2
    assert {row["value"] for row in RunFolder(tmp_path).results() if row["measure"] == "RR@5"} == {1.0}


def test_when_the_index_was_made_is_told_further_on(tmp_path: Path) -> None:
    go(TRAIN, tmp_path)
    cell(tmp_path, "scripted").write_status({**status(tmp_path, "scripted"), "ended": "then"})
    go(TRAIN, tmp_path, limit=3)
    go(TRAIN, tmp_path, limit=4)
    assert status(tmp_path, "scripted")["indexed"] == {"ended": "then"}


@pytest.mark.parametrize("other", [{"code": "other"}, {"machine": {"cpu": {"model": "Another"}}}], ids=["code", "cpu"])
def test_other_sources_and_machines_index_themselves(tmp_path: Path, tasks: list[str], other: dict[str, Any]) -> None:
    go(TRAIN, tmp_path)
    cell(tmp_path, "scripted").write_status({**status(tmp_path, "scripted"), **other})
    go(TRAIN, tmp_path, limit=3)
    assert tasks == ["index", "search"] * 2


def test_a_system_whose_file_has_changed_indexes_again(
    tmp_path: Path, tasks: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    own = tmp_path / "own_system.py"
    shutil.copy(HERE / "broken_systems.py", own)
    monkeypatch.syspath_prepend(str(tmp_path))
    systems = {"own": {"system": "own_system:SYSTEM"}}
    go(systems, tmp_path / "run")
    go(systems, tmp_path / "run", limit=3)
    assert tasks == ["index", "search", "search"]
    own.write_text(own.read_text() + "# It indexes in another way now.\n")
    go(systems, tmp_path / "run", limit=4)
    assert tasks[3:] == ["index", "search"]


@pytest.mark.parametrize("phase", ["retune", "search"])
def test_an_index_outlives_a_search_that_fails(
    tmp_path: Path, tasks: list[str], phase: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    go(TRAIN, tmp_path, split="dev")
    run_child = runner.run_child

    def failing(task: str, *args: Any, **keys: Any) -> Outcome:
        return Outcome(1, "past its time limit", "load") if task == phase else run_child(task, *args, **keys)

    with monkeypatch.context() as patch:
        patch.setattr(runner, "run_child", failing)
        assert go(TURNED, tmp_path, split="dev")[0].failed == 1
    tasks.clear()
    assert go(TURNED, tmp_path, split="dev")[0].done == 1
    assert tasks == (["retune", "search"] if phase == "retune" else ["search"])
    go(TURNED, tmp_path / "made", split="dev")
    assert cell(tmp_path, "scripted").run() == cell(tmp_path / "made", "scripted").run()
    assert not cell(tmp_path, "scripted").earlier_model.exists()
