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
from harness.lm.objective import refuse_longer
from harness.lm.ragged import Int64
from selfretrieval import prompts
from selfretrieval.generate import Candidate
from selfretrieval.memory import Memory

if TYPE_CHECKING:
    import torch

CHUNK_TOKENS = 8192
"""Tokens judged in one forward pass, padding and the cached tokens before them included: bounds the memory."""
_STATES = 512
"""States whose logits over the whole vocabulary are computed at once: bounds the memory."""


class Assessment(NamedTuple):
    """p_reject: the paper's score, 0..1. first_reject: probability of the refusal's first token, 0..1."""

    p_reject: float
    first_reject: float


def assess(lattice: Lattice, candidates: Sequence[Candidate], memory: Memory) -> list[Assessment]:
    """Judge each candidate, starting from the cache its generation left; returns them in order.

    Raises:
        ConfigError: a passage does not fit behind its question into what the backbone reads.
    """
    backbone = lattice.backbone
    cue = backbone.encode([prompts.ANSWER])[0]
    refusal = backbone.encode_after(prompts.ANSWER, [prompts.REJECT])[0]
    chains = [[*unread(c, memory), *cue, *refusal[:-1]] for c in candidates]
    verdicts: list[Assessment | None] = [None] * len(candidates)
    before = lattice.depth_of(np.array([c.slot for c in candidates], dtype=np.int64))
    lengths: list[int] = (before + [len(c) for c in chains]).tolist()
    refuse_longer(backbone, max(lengths, default=0), "a passage to judge, behind its question,")
    for chunk in chunks(lengths):
        fork, slots = lattice.fork(np.array([candidates[i].slot for i in chunk]))
        judged = _judge(fork, slots, [chains[i] for i in chunk], refusal)
        lattice.work.add(fork.work)
        for index, verdict in zip(chunk, judged, strict=True):
            verdicts[index] = verdict
    return [v for v in verdicts if v is not None]


def unread(candidate: Candidate, memory: Memory) -> list[int]:
    """Return the tokens of the passage that are not in the cache yet, without <eos>."""
    unread: list[int] = memory.sequences[candidate.items[0]][candidate.read : -1].tolist()
    return unread


def chunks(lengths: Sequence[int]) -> list[list[int]]:
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
    states = hidden[torch.from_numpy(at.ravel()).to(hidden.device)]
    logprobs = token_logprobs(fork.backbone, states, np.tile(refusal, len(chains))).reshape(at.shape)
    return [Assessment(float(np.exp(row.mean())), float(np.exp(row[0]))) for row in logprobs]


def token_logprobs(backbone: Backbone, states: torch.Tensor, tokens: Int64) -> np.ndarray:
    """(n,) float64 log-probability of each token behind its (n, hidden) state; -inf where the head was cut off."""
    import torch

    columns = torch.from_numpy(backbone.column_of[tokens].astype(np.int64)).to(states.device)
    parts = []
    with torch.inference_mode():
        for first in range(0, len(states), _STATES):
            logits = backbone.logits(states[first : first + _STATES])
            mine = columns[first : first + _STATES]
            picked = logits.gather(-1, mine.clamp(min=0)[:, None])[:, 0] - torch.logsumexp(logits, dim=-1)
            parts.append(picked.masked_fill(mine < 0, -torch.inf))
    result: np.ndarray = torch.cat(parts).cpu().double().numpy()
    return result
