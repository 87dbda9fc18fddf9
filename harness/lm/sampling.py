"""Drawing free text at random: several texts behind each prompt, which is read once for all of them.

Each token is one of the likeliest few (top-k sampling, Fan et al., ACL 2018), drawn by its probability among these.
What a text is drawn with depends on the seed, its prompt's number and its own, so that neither batches nor other
prompts change it, but for the rounding of the model's numbers.
"""

from __future__ import annotations

from collections.abc import Sequence
from functools import partial
from typing import TYPE_CHECKING

import numpy as np

from harness.errors import ConfigError
from harness.lm.backbone import Backbone
from harness.lm.beam import as_backbone, batches, open_session
from harness.lm.greedy import Written, continue_with
from harness.lm.ragged import Int64
from harness.progress import SILENT, Progress

if TYPE_CHECKING:
    import torch


def sampled(
    model: Backbone | object,
    prompts: Sequence[Sequence[int]],
    *,
    copies: int,
    top_k: int,
    max_tokens: int,
    end: int,
    seed: int = 0,
    batch_size: int = 32,
    progress: Progress = SILENT,
) -> list[list[Written]]:
    """Continue each prompt `copies` times until `end`, each time with tokens drawn anew.

    Args:
        model: any Hugging Face model with a language-model head, causal or encoder-decoder, or a `Backbone`.
        prompts: token ids, at least one each.
        copies: texts a prompt.
        top_k: tokens among which the next is drawn; 1: the likeliest, so that all copies are alike.
        max_tokens: tokens written at most, at least 1.
        end: the token that ends a text.
        seed: of the draws.
        batch_size: prompts continued together, those of like length.
        progress: is told of each prompt that is done with.

    Returns:
        `copies` texts for each prompt, in the order of the prompts.

    Raises:
        ConfigError: a number out of range. DataError: an empty prompt.
    """
    numbers = {"copies": copies, "top_k": top_k, "max_tokens": max_tokens, "batch_size": batch_size}
    for name, number in numbers.items():
        if number < 1:
            raise ConfigError(f"{name} of at least 1", str(number), f"correct {name}")
    backbone = as_backbone(model)
    found: list[list[Written]] = [[] for _ in prompts]
    for batch in batches(prompts, batch_size):
        session = open_session(backbone)
        states, slots = session.prefill([prompts[i] for i in batch])
        draws = np.concatenate([_draws(seed, i, copies, max_tokens) for i in batch])
        texts = continue_with(
            session,
            states.repeat_interleave(copies, dim=0),
            slots.repeat(copies),
            partial(_drawn, top_k, draws),
            max_tokens=max_tokens,
            end=end,
        )
        for place, i in enumerate(batch):
            found[i] = texts[place * copies : (place + 1) * copies]
        progress.advance(len(batch))
    return found


def _draws(seed: int, prompt: int, copies: int, steps: int) -> np.ndarray:
    """(copies, steps) numbers in [0, 1) that decide what is written behind the prompt of that number."""
    return np.random.default_rng([seed, prompt]).random((copies, steps))


def _drawn(top_k: int, draws: np.ndarray, logits: torch.Tensor, texts: Int64, step: int) -> torch.Tensor:
    """(texts,) the column that each draw falls on, where the `top_k` likeliest share [0, 1) by their probabilities."""
    import torch

    likeliest = logits.topk(min(top_k, logits.shape[-1]), dim=-1)
    upto = likeliest.values.double().softmax(dim=-1).cumsum(dim=-1)
    drawn = torch.from_numpy(draws[texts, step]).to(logits.device)
    place = (upto <= drawn[:, None]).sum(dim=-1).clamp(max=upto.shape[-1] - 1)
    return likeliest.indices.gather(-1, place[:, None])[:, 0]
