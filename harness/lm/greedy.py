"""Greedy decoding of free text: what `transformers` gives for `generate(do_sample=False)`, on the sessions of a search.

Nothing constrains what is written but the backbone's vocabulary. A token is fed for every text that goes on; one that
has ended costs nothing more.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, NamedTuple

import numpy as np

from harness.errors import ConfigError
from harness.lm.backbone import Backbone
from harness.lm.beam import as_backbone, batches, open_session
from harness.lm.ragged import Int64
from harness.lm.session import Session

if TYPE_CHECKING:
    import torch


Choice = Callable[["torch.Tensor", Int64, int], "torch.Tensor"]
"""(texts, columns) logits, the (texts,) numbers of the texts that go on, the step -> (texts,) columns to write."""


class Written(NamedTuple):
    """What was written behind a prompt.

    tokens: without the end token. logprob: sum of their log-probabilities over what the backbone may write, natural
    logarithm, that of the end token included. ended: False where the text was cut at the most tokens allowed.
    """

    tokens: tuple[int, ...]
    logprob: float
    ended: bool


def greedy(
    model: Backbone | object,
    prompts: Sequence[Sequence[int]],
    *,
    max_tokens: int,
    end: int,
    batch_size: int = 32,
    counters: dict[str, float] | None = None,
) -> list[Written]:
    """Continue each prompt with the likeliest token until `end`; neither batches nor order change what is written.

    Args:
        model: any Hugging Face model with a language-model head, causal or encoder-decoder, or a `Backbone`.
        prompts: token ids, at least one each.
        max_tokens: tokens written at most, at least 1.
        end: the token that ends a text.
        batch_size: prompts continued together, those of like length.
        counters: running totals that model_calls, dead_beams, model_s, search_s and mask_s are added to.

    Raises:
        ConfigError: a number out of range. DataError: an empty prompt.
    """
    if batch_size < 1:
        raise ConfigError("a batch size of at least 1", str(batch_size), "correct batch_size")
    backbone = as_backbone(model)
    found = [Written((), 0.0, False)] * len(prompts)
    for batch in batches(prompts, batch_size):
        session = open_session(backbone)
        states, slots = session.prefill([prompts[i] for i in batch])
        for i, written in zip(batch, continue_greedily(session, states, slots, max_tokens, end), strict=True):
            found[i] = written
        if counters is not None:
            session.work.count_into(counters)
    return found


def continue_greedily(session: Session, states: torch.Tensor, slots: Int64, max_tokens: int, end: int) -> list[Written]:
    """Go on from slots of a session, each with the state behind it: (texts, width) and (texts,); see `greedy`.

    Raises:
        ConfigError: `max_tokens` is below 1.
    """
    return continue_with(
        session, states, slots, lambda logits, *_: logits.argmax(dim=-1), max_tokens=max_tokens, end=end
    )


def continue_with(
    session: Session, states: torch.Tensor, slots: Int64, choose: Choice, *, max_tokens: int, end: int
) -> list[Written]:
    """Go on from slots of a session with the tokens that `choose` takes; else as `continue_greedily`."""
    if max_tokens < 1:
        raise ConfigError("at least 1 token to write", str(max_tokens), "raise the number of tokens")
    tokens: list[list[int]] = [[] for _ in slots]
    totals, ended = np.zeros(len(slots)), np.zeros(len(slots), dtype=np.bool_)
    going, step = np.arange(len(slots)), 0
    while len(going):
        chosen, logprobs = _chosen(session, states, going, step, choose)
        totals[going] += logprobs
        ended[going[chosen == end]] = True
        for text, token in zip(going.tolist(), chosen.tolist(), strict=True):
            if token != end:
                tokens[text].append(token)
        goes = np.array([not ended[text] and len(tokens[text]) < max_tokens for text in going.tolist()])
        going, slots, chosen, step = going[goes], slots[goes], chosen[goes], step + 1
        if len(going):
            states, slots = session.feed(slots, chosen)
    return [Written(tuple(t), float(p), bool(e)) for t, p, e in zip(tokens, totals, ended, strict=True)]


def _chosen(
    session: Session, states: torch.Tensor, texts: Int64, step: int, choose: Choice
) -> tuple[Int64, np.ndarray]:
    """(texts,) the token chosen behind each state, and its float64 log-probability."""
    import torch

    with session.work.model(), torch.inference_mode():
        logits = session.logits(states)
        best = choose(logits, texts, step)
        logprobs = logits.gather(-1, best[:, None])[:, 0] - torch.logsumexp(logits, dim=-1)
        columns: Int64 = best.cpu().numpy()
    kept = session.backbone.vocabulary
    return columns if kept is None else kept[columns].astype(np.int64), logprobs.cpu().double().numpy()
