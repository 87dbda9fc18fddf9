"""Constrained decoding over a corpus, usable alone: see docs/DECODING.md.

from harness.lm import TokenTrie, constrained_search
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from harness.lm.backbone import Backbone
    from harness.lm.beam import Hypothesis, constrained_search
    from harness.lm.exhaustive import exhaustive_search
    from harness.lm.overlay import GrownTrie
    from harness.lm.processor import TrieLogitsProcessor
    from harness.lm.ragged import Ragged
    from harness.lm.trie import TokenTrie

__all__ = [
    "Backbone",
    "GrownTrie",
    "Hypothesis",
    "Ragged",
    "TokenTrie",
    "TrieLogitsProcessor",
    "constrained_search",
    "exhaustive_search",
]

_HOME = {
    "Backbone": "backbone",
    "GrownTrie": "overlay",
    "Hypothesis": "beam",
    "Ragged": "ragged",
    "TokenTrie": "trie",
    "TrieLogitsProcessor": "processor",
    "constrained_search": "beam",
    "exhaustive_search": "exhaustive",
}


def __getattr__(name: str) -> Any:
    # Imported on first use: nothing heavy happens when a package below this one is imported.
    if name in _HOME:
        return getattr(import_module(f"{__name__}.{_HOME[name]}"), name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
