r"""Self-assessment (section 3.3, Tang et al. 2024): would the model answer from this passage, or refuse?

p_reject = exp(mean log-probability of the tokens of " cannot extract answer") behind `... {passage}\n\n Final answer:`.
The mean is squashed towards 1, since the last tokens are certain once the first is written; the probability of the
first token alone is kept beside it.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, NamedTuple

import numpy as np

from harness.lm.backbone import Backbone
from harness.lm.lattice import Lattice
from harness.lm.ragged import Int64
from selfretrieval import prompts
from selfretrieval.generate import Candidate
from selfretrieval.memory import Memory

if TYPE_CHECKING:
    import torch

CHUNK_TOKENS = 8192
"""Tokens judged in one forward pass, padding and the cached tokens before them included: bounds the memory."""


class Assessment(NamedTuple):
    """p_reject: the paper's score, 0..1. first_reject: probability of the refusal's first token, 0..1."""

    p_reject: float
    first_reject: float


def assess(lattice: Lattice, candidates: Sequence[Candidate], memory: Memory) -> list[Assessment]:
    """Judge each candidate, starting from the cache its generation left; returns them in order."""
    backbone = lattice.backbone
    cue = backbone.encode([prompts.ANSWER])[0]
    refusal = backbone.encode_after(prompts.ANSWER, [prompts.REJECT])[0]
    chains = [[*_unread(c, memory), *cue, *refusal[:-1]] for c in candidates]
    verdicts: list[Assessment | None] = [None] * len(candidates)
    before = lattice.depth_of(np.array([c.slot for c in candidates], dtype=np.int64))
    for chunk in _chunks((before + [len(c) for c in chains]).tolist()):
        fork, slots = lattice.fork(np.array([candidates[i].slot for i in chunk]))
        judged = _judge(fork, slots, [chains[i] for i in chunk], refusal)
        lattice.work.add(fork.work)
        for index, verdict in zip(chunk, judged, strict=True):
            verdicts[index] = verdict
    return [v for v in verdicts if v is not None]


def _unread(candidate: Candidate, memory: Memory) -> list[int]:
    """Return the tokens of the passage that are not in the cache yet, without <eos>."""
    unread: list[int] = memory.sequences[candidate.items[0]][candidate.read : -1].tolist()
    return unread


def _chunks(lengths: Sequence[int]) -> list[list[int]]:
    """Group indices by length so that a group, padded, stays below CHUNK_TOKENS."""
    chunks: list[list[int]] = []
    for index in sorted(range(len(lengths)), key=lambda i: (lengths[i], i)):
        if not chunks or (len(chunks[-1]) + 1) * lengths[index] > CHUNK_TOKENS:
            chunks.append([])
        chunks[-1].append(index)
    return chunks


def _judge(fork: Lattice, slots: Int64, chains: Sequence[Sequence[int]], refusal: Sequence[int]) -> list[Assessment]:
    """Feed each chain behind its slot; its last tokens are the refusal's, but for the very last."""
    import torch

    ends = np.cumsum([len(c) for c in chains])
    parents = fork.next_slot - 1 + np.arange(int(ends[-1]))
    parents[np.concatenate([[0], ends[:-1]])] = slots
    hidden, _ = fork.feed(parents, np.concatenate([np.array(c) for c in chains]))
    at = ends[:, None] - len(refusal) + np.arange(len(refusal))  # the positions that predict the refusal
    logprobs = _logprobs(fork.backbone, hidden[torch.from_numpy(at).to(hidden.device)], refusal)
    return [Assessment(float(np.exp(row.mean())), float(np.exp(row[0]))) for row in logprobs]


def _logprobs(backbone: Backbone, states: torch.Tensor, tokens: Sequence[int]) -> np.ndarray:
    """(candidates, tokens) float64 log-probability of each token behind its (candidates, tokens, hidden) state."""
    import torch

    with torch.inference_mode():
        logits = backbone.logits(states)
    columns = torch.tensor(backbone.column_of[np.array(tokens)], device=logits.device)
    picked = logits.gather(-1, columns.expand(*logits.shape[:-1]).unsqueeze(-1))[..., 0]
    result: np.ndarray = (picked - torch.logsumexp(logits, dim=-1)).cpu().double().numpy()
    return result
