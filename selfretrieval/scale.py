"""The stage "trie" of `harness bench scale`: `python -m selfretrieval.scale trie FOLDER`.

Titles and passages of a saved corpus are tokenised and the trie over both is built and saved, as Self-Retrieval does it
before it trains; no model is loaded.
"""

from __future__ import annotations

import time
from pathlib import Path

from harness.bench.stages import Done, corpus_file, serve
from harness.meter import folder_bytes
from harness.progress import Progress
from harness.types import Corpus
from selfretrieval.memory import Memory

STAGES = {"trie": "selfretrieval.scale"}
"""Stage -> module, for `harness.bench.scale.run`."""


def trie(folder: Path, progress: Progress) -> Done:
    """Build the memory of the corpus that the stage `cut` left."""
    from transformers import AutoTokenizer

    from harness.lm.backbone import Backbone, embedded_folder

    backbone = Backbone(None, AutoTokenizer.from_pretrained(str(embedded_folder())))
    corpus, kept = Corpus.open(corpus_file(folder)), folder / "trie"
    start = time.perf_counter()
    Memory.build(corpus, backbone, progress=progress).save(kept)
    return Done(time.perf_counter() - start, folder_bytes(kept))


if __name__ == "__main__":
    serve({"trie": trie})
