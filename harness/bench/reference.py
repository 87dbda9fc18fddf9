"""Constrained decoding as it is done elsewhere: `generate` with a Python callback over nested dictionaries (GENRE).

It is what the engine is timed and checked against, so it is written to be as fast as that way allows.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, NamedTuple

from harness.lm.beam import Hypothesis
from harness.lm.nodes import Normaliser
from harness.lm.session import padded

DictTrie = dict[int, Any]
TOLERANCE = 1e-4
"""Scores of float32 arithmetic in another order may differ by so much."""


class Written(NamedTuple):
    """One finished sequence and its length-normalised log-probability."""

    tokens: tuple[int, ...]
    score: float


def dict_trie(sequences: Sequence[Sequence[int]]) -> DictTrie:
    """Nest dictionaries: token -> what may follow it.

    >>> dict_trie([[7, 2], [7, 5]])
    {7: {2: {}, 5: {}}}
    """
    root: DictTrie = {}
    for sequence in sequences:
        node = root
        for token in sequence:
            node = node.setdefault(token, {})
    return root


def generate(
    model: Any,
    prompts: Sequence[Sequence[int]],
    trie: DictTrie,
    *,
    beam_size: int,
    end: int,
    longest: int,
    normaliser: Normaliser = "vocabulary",
) -> list[list[Written]]:
    """Search with `model.generate(prefix_allowed_tokens_fn=...)`, all prompts in one batch, padded on the left.

    Args:
        model: a causal Hugging Face model.
        prompts: token ids.
        trie: every sequence ends with `end`, which stands nowhere else.
        beam_size: beams kept and sequences returned for each prompt.
        end: token that ends a sequence.
        longest: tokens of the longest sequence.
        normaliser: "allowed" renormalises over the allowed tokens of each step.
    """
    import torch

    tokens = padded([p[::-1] for p in prompts])[:, ::-1]
    width = tokens.shape[1]

    def allowed(_: int, ids: torch.Tensor) -> list[int]:
        node = trie
        for token in ids.tolist()[width:]:
            if token not in node:
                return [end]
            node = node[token]
        return list(node) or [end]

    ids = torch.from_numpy(tokens.clip(0)).to(model.device)
    with torch.inference_mode():
        out = model.generate(
            ids,
            attention_mask=torch.from_numpy((tokens >= 0).astype("int64")).to(model.device),
            num_beams=beam_size,
            num_return_sequences=beam_size,
            max_new_tokens=longest,
            do_sample=False,
            prefix_allowed_tokens_fn=allowed,
            renormalize_logits=normaliser == "allowed",
            return_dict_in_generate=True,
            output_scores=True,
            eos_token_id=end,
            pad_token_id=end,
        )
    written = [_until(row, end) for row in out.sequences[:, width:].tolist()]
    scored = [Written(*pair) for pair in zip(written, out.sequences_scores.tolist(), strict=True)]
    return [
        [w for w in scored[first : first + beam_size] if w.score > -1e8]  # fewer sequences than beams
        for first in range(0, len(scored), beam_size)
    ]


def _until(row: list[int], end: int) -> tuple[int, ...]:
    return tuple(row[: row.index(end) + 1] if end in row else row)


def equal(ours: Sequence[Hypothesis], theirs: Sequence[Written]) -> bool:
    """Say whether both found the same sequences with the same scores; those closer than the tolerance may swap."""
    if len(ours) != len(theirs) or any(abs(a.score - b.score) > TOLERANCE for a, b in zip(ours, theirs, strict=True)):
        return False
    scores = {w.tokens: w.score for w in theirs}
    return all(h.tokens in scores and abs(scores[h.tokens] - h.score) <= TOLERANCE for h in ours)
