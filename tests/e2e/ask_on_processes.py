"""Write pseudo-queries under torchrun, each process what it got into a file of its own; used by test_two_processes.py.

The second process draws other texts, as one whose numbers are rounded otherwise may: what it draws must not count.
"""

from __future__ import annotations

import sys
from pathlib import Path

import torch
from accelerate import PartialState

from harness.jsonfile import write_json
from harness.lm import pseudo_queries
from harness.lm.pseudo_queries import PseudoQuerySettings, write_pseudo_queries
from harness.progress import SILENT
from harness.types import Corpus, Passage, Split
from tests.e2e.leaving import leave

CORPUS = Corpus.from_passages(Passage(f"d{i}", f"Title {i}", f"This is passage number {i}.", f"d{i}") for i in range(4))
SETTINGS = PseudoQuerySettings(per_passage=2, query_tokens=8)


def main(folder: Path) -> None:
    torch.set_num_threads(1)
    rank = PartialState(cpu=True).process_index
    drawn = pseudo_queries.sampled
    pseudo_queries.sampled = lambda *args, seed, **more: drawn(*args, seed=seed + rank, **more)  # type: ignore[assignment]
    found = write_pseudo_queries(
        str(folder / "model"),
        CORPUS,
        Split("train"),
        SETTINGS,
        dtype="float32",
        seed=0,
        progress=SILENT,
        checkpoints=folder,
    )
    write_json(folder / f"{rank}.json", [[query.qid, query.text, row] for query, row in found.pairs], "the queries")


if __name__ == "__main__":
    main(Path(sys.argv[1]))
    leave()
