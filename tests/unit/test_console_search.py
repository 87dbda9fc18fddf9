"""One question to the systems of a run: one that breaks does not keep the others from answering."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest
from pydantic import BaseModel

from harness import datasets, plan
from harness.console_search import Question
from harness.errors import DataError
from harness.retriever import System
from harness.store import CellFolder
from harness.types import Hit
from tests.e2e import trial
from tests.unit.test_beam_curve import planned, status_of


class Settings(BaseModel):
    """No settings."""


class Sound:
    """Finds the first passage whatever it is asked."""

    def search(self, queries: Sequence[str], k: int) -> list[list[Hit]]:
        return [[Hit("d00", 1.0)] for _ in queries]


class SafetensorError(Exception):
    """As the library raises it: no kin of OSError or ValueError."""


def raising(error: Exception) -> System:
    def load(_: Path) -> Any:
        raise error

    return System("broken", "dense", "", Settings, lambda *_: Sound(), load)  # type: ignore


@pytest.mark.parametrize(
    ("error", "said"),
    [
        (SafetensorError("header too large"), "cannot answer: SafetensorError: header too large"),
        (KeyError("weights"), "cannot answer: KeyError: 'weights'"),
        (DataError("an index", "half of one", "run again"), "cannot answer: expected an index got half of one"),
    ],
)
def test_a_damaged_model_does_not_keep_the_others_from_answering(
    error: Exception, said: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(datasets, "load", lambda name, settings, progress: trial.load(name, settings))
    sound = System("sound", "sparse", "", Settings, lambda *_: Sound(), lambda _: Sound())  # type: ignore
    monkeypatch.setattr(plan, "resolve", {"broken": raising(error), "sound": sound}.__getitem__)
    for cell in planned(tmp_path, {"broken": {}, "sound": {}}).cells:
        (cell.folder / "model").mkdir(exist_ok=True)
        CellFolder(cell.folder).write_status(status_of(cell))
    broken, found = Question.of(tmp_path, "word7").answers(3)
    assert broken.problem.startswith(said)
    assert (found.system, found.problem, [hit.docid for hit in found.hits]) == ("sound", "", ["d00"])
