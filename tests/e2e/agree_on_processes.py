"""Let two processes differ in what each finds on its own; used by test_two_processes.py.

Writes for each process, as RANK.json: the identifiers DSI gave, and what errors said.
"""

from __future__ import annotations

import json
import os
import sys
from pathlib import Path

import torch

from baselines.dsi import Dsi, DsiSettings
from harness.errors import ConfigError
from harness.lm.backbone import Backbone
from harness.lm.training import train
from harness.types import Corpus, Passage, Query, Split
from tests.e2e.leaving import leave
from tests.e2e.train_on_processes import EXAMPLES, SETTINGS
from tests.lm_models import tiny_llama

CORPUS = Corpus.from_passages(
    Passage(f"d{i}", "", f"Passage number {i} of a very small corpus.", f"d{i}") for i in range(4)
)
TRAIN = Split("train", (Query("q", "the second"),), {"q": {"d1": 1}})
QUICK = {"tokens": 300, "frozen_layers": 0, "dtype": "float32"}


def identifiers(model: str, rank: int) -> list[list[int]]:
    """Return what the trie of a DSI holds whose processes would each have chosen other identifiers."""
    settings = DsiSettings.model_validate({"backbone": model, "docid": "naive", "training": QUICK, "dtype": "float32"})
    dsi = Dsi(settings)
    dsi._codes = lambda corpus: [((i + rank) % 4,) for i in range(len(corpus))]  # type: ignore[method-assign]
    dsi.index(CORPUS, TRAIN, Split("dev"))
    trie = dsi._ready().trie
    return [trie.tokens.tolist(), trie.items.tolist()]


def refused(backbone: Backbone, folder: Path | None) -> str:
    """Return what a training is refused with, or nothing."""
    try:
        train(backbone, EXAMPLES * 2, SETTINGS.model_copy(update={"checkpoint_s": 0.0}), checkpoints=folder)
    except ConfigError as error:
        return str(error)
    return ""


def main(path: str) -> None:
    torch.set_num_threads(1)
    folder, rank = Path(path), int(os.environ["RANK"])
    given = identifiers(str(folder / "model"), rank)
    first = refused(tiny_llama(), folder / f"kept-{rank}")  # the first process alone writes a checkpoint, into its own
    second = refused(tiny_llama(), folder / f"kept-{rank}")
    shared = refused(tiny_llama(), folder / "kept-0")
    spoilt = tiny_llama()
    if rank:
        spoilt.model.model.norm.weight.register_hook(lambda gradient: gradient * float("nan"))
    diverged = refused(spoilt, None)
    told = {"identifiers": given, "first": first, "second": second, "shared": shared, "diverged": diverged}
    (folder / f"{rank}.json").write_text(json.dumps(told))


if __name__ == "__main__":
    main(sys.argv[1])
    leave()
