"""What the paper's own scale costs, estimated before anything starts. Every number here is a rule of thumb, said aloud.

training:    6 · parameters · tokens FLOP, at 40 % of the 312 TFLOPS of an A100 in bfloat16
searching:   2 · parameters · tokens FLOP, at 15 % of them: 1.7 s a query of 2.8B parameters, where the paper has 1.44 s
memory:      16 bytes a parameter on each GPU (weights, gradients and two moments in float32) and 4 more where several
             GPUs exchange gradients; what the layers keep for the way back comes on top
disk:        12 bytes a parameter for a checkpoint (weights and two moments in float32), 2 for the model that is kept,
             and 3 kB a passage for corpus and index
tokens:      a sentence to memorise 60 (six in 200 words), a title 45, a passage 1.3 a word of 80 % of its longest
             length, behind it 60 for question, title and answer
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

PEAK_FLOPS = 312e12
TRAINING_SHARE, SEARCH_SHARE = 0.40, 0.15
CHECKPOINT_BYTES, MODEL_BYTES, PASSAGE_BYTES = 12, 2, 3_000
TRAINED_BYTES = 16 + 4
"""Of each parameter on each of several GPUs, all of which hold the whole model."""
GPU_BYTES = 80e9
SENTENCES, SENTENCE_TOKENS, TITLE_TOKENS, FRAME_TOKENS = 6, 60, 45, 60
RECALLED = 3
"""Sentences of each passage that are memorised again in the second stage."""
PASSES, EPOCHS, NEGATIVES = 2, 3, 5
"""The supervised set is gone through twice in each of three epochs, with five negatives for each pair."""
TITLES, PASSAGES_A_TITLE, WRITTEN_TOKENS = 5, 10, 12
DSI_BEAM = 20


class Set(NamedTuple):
    """Counts of a data set. words: longest passage; known: where the counts are from."""

    documents: int
    passages: int
    train: int
    test: int
    words: int = 200
    known: str = "the paper"

    @property
    def passage_tokens(self) -> float:
        """Tokens of a passage with question, title and answer around it."""
        return 1.3 * 0.8 * self.words + FRAME_TOKENS


class Load(NamedTuple):
    """What one system costs on one data set. parameters: of its model; tokens: trained on, and read while searching."""

    system: str
    parameters: float
    train_tokens: float
    search_tokens: float
    passages: int

    @property
    def training_h(self) -> float:
        """GPU hours of training."""
        return 6 * self.parameters * self.train_tokens / (TRAINING_SHARE * PEAK_FLOPS) / 3600

    @property
    def gpu_bytes(self) -> float:
        """Bytes on each GPU while training, without what the layers keep for the way back; 0: nothing is trained."""
        return TRAINED_BYTES * self.parameters if self.train_tokens else 0.0

    @property
    def fits(self) -> bool:
        """Whether a tenth of a GPU, at least, is left for what the layers keep."""
        return self.gpu_bytes <= 0.9 * GPU_BYTES

    @property
    def search_h(self) -> float:
        """GPU hours of searching."""
        return 2 * self.parameters * self.search_tokens / (SEARCH_SHARE * PEAK_FLOPS) / 3600

    @property
    def disk_bytes(self) -> float:
        """Bytes of a checkpoint, of the model, and of corpus and index."""
        weights = CHECKPOINT_BYTES + MODEL_BYTES if self.train_tokens else MODEL_BYTES
        return weights * self.parameters + PASSAGE_BYTES * self.passages


class Total(NamedTuple):
    """Sum over several loads."""

    training_h: float
    search_h: float
    disk_bytes: float


def total(loads: Sequence[Load]) -> Total:
    """Add loads up."""
    return Total(*(sum(getattr(load, name) for load in loads) for name in Total._fields))


def views(data: Set, *, indexing: bool = True) -> dict[str, float]:
    """Return view of Self-Retrieval -> tokens of one epoch over both stages, by the names of its shares."""
    pairs = PASSES * data.train
    # Of shorter passages there are more, with fewer sentences in each; a document of NQ320K or MS MARCO counts as one.
    memorised = data.passages * min(data.words / 200, 1) * SENTENCE_TOKENS if indexing else 0
    found = {
        "memorise": SENTENCES * memorised,
        "recall": RECALLED * memorised,
        "title": pairs * TITLE_TOKENS,
        "passage": pairs * data.passage_tokens,
        "content": pairs * data.passage_tokens,
        "assess": pairs * (1 + NEGATIVES) * data.passage_tokens,
    }
    return {name: float(tokens) for name, tokens in found.items()}


def search_tokens(data: Set, *, titles: bool = True, assessment: bool = True) -> float:
    """Return the tokens that Self-Retrieval reads and writes for all test queries of a set."""
    beams = TITLES if titles else 1
    written = titles * TITLES * WRITTEN_TOKENS + beams * PASSAGES_A_TITLE * WRITTEN_TOKENS
    judged = beams * PASSAGES_A_TITLE * data.passage_tokens if assessment else 0
    return data.test * (FRAME_TOKENS + written + judged)
