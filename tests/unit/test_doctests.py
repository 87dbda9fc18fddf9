"""The examples in docstrings hold, in every module that has some."""

from __future__ import annotations

import doctest
import importlib
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
PACKAGES = ("harness", "reports", "baselines", "selfretrieval")


def modules() -> list[str]:
    """List the modules whose source holds an example."""
    paths = (path for package in PACKAGES for path in (ROOT / package).rglob("*.py"))
    shown = (path.relative_to(ROOT) for path in paths if ">>>" in path.read_text(encoding="utf-8"))
    return sorted(".".join(path.with_suffix("").parts).removesuffix(".__init__") for path in shown)


@pytest.mark.parametrize("name", modules())
def test_examples_in_docstrings_hold(name: str) -> None:
    outcome = doctest.testmod(importlib.import_module(name))
    assert (outcome.failed, outcome.attempted > 0) == (0, True)
