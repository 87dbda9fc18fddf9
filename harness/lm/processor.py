"""The trie as a `LogitsProcessor`, for those who want to keep `model.generate`."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from harness.lm.trie import Trie, walk

if TYPE_CHECKING:
    import torch


class TrieLogitsProcessor:
    """Forbid every token that would leave a trie: `model.generate(..., logits_processor=[TrieLogitsProcessor(...)])`.

    Works with greedy search, sampling and beams of any model, batched, prompts padded on the left. Where a branch has
    ended only `end` is allowed. Give `renormalize_logits=True` to generate for probabilities over what is allowed.

    Args:
        trie: what may be written.
        prompt_tokens: length of the padded prompts; 1 for encoder-decoder models, whose decoder starts from one token.
        end: token that ends a sequence.
    """

    def __init__(self, trie: Trie, *, prompt_tokens: int, end: int) -> None:
        self.trie, self.prompt_tokens, self.end = trie, prompt_tokens, end
        self._nodes: dict[tuple[int, ...], int] = {(): 0}
        """Where the sequences of the last step stand, so that a step looks up one token and not a whole branch."""

    def __call__(self, input_ids: torch.Tensor, scores: torch.Tensor) -> torch.Tensor:
        """Return the (rows, vocabulary) scores with -inf where the trie does not go on; see transformers."""
        written = [tuple(row) for row in input_ids[:, self.prompt_tokens :].tolist()]
        self._nodes = {(): 0} | {tokens: self._node(tokens) for tokens in written}
        nodes = np.array([self._nodes[tokens] for tokens in written], dtype=np.int64)
        inside = np.flatnonzero(nodes >= 0)
        followers = self.trie.followers(nodes[inside])
        masked = scores.new_full(scores.shape, float("-inf"))
        over = np.setdiff1d(np.arange(len(nodes)), inside[followers.counts > 0])
        masked[over.tolist(), self.end] = 0.0
        rows = np.repeat(inside, followers.counts).tolist()
        columns = followers.tokens.tolist()
        masked[rows, columns] = scores[rows, columns]
        return masked

    def _node(self, tokens: tuple[int, ...]) -> int:
        """Return where tokens end in the trie, -1 behind its end."""
        known = self._nodes.get(tokens)
        if known is not None:
            return known
        before = self._node(tokens[:-1])
        if before < 0:
            return -1
        return walk(self.trie, tokens[-1:], before)
