"""A copy of the cache for each branch: slower than a lattice, for every model that `generate` can beam-search.

That is, encoder-decoder models and causal ones whose attention cannot be told what to see. The prompt of an
encoder-decoder model goes to the encoder, once; what is written starts behind its decoder's start token.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from harness.lm.backbone import Backbone, still
from harness.lm.ragged import Int64
from harness.lm.session import Work, padded

if TYPE_CHECKING:
    import torch


class Replicas:
    """Feeds tokens to a backbone; each may follow any token fed before. See `harness.lm.session.Session`.

    A state is the row of logits itself. Branches that all follow tokens of the last call go on from the cache;
    any others are read again from their prompt.
    """

    lookahead_tokens = 0

    def __init__(self, backbone: Backbone) -> None:
        self.backbone = backbone
        self.work = Work()
        self._encoded: Any = None
        self._prompts: list[Sequence[int]] = []
        self._row: list[int] = []  # of each slot
        self._written: list[tuple[int, ...]] = []  # tokens behind the prompt, of each slot
        self._cache: Any = None
        self._cached = np.zeros(0, dtype=np.int64)  # slots of the cache's rows
        self._mask: Any = None

    @property
    def next_slot(self) -> int:
        """Slot of the next token that is fed."""
        return len(self._row)

    def prefill(self, prompts: Sequence[Sequence[int]]) -> tuple[torch.Tensor, Int64]:
        """Read prompts; return the (prompts, columns) logits behind each and its slot."""
        import torch

        self._prompts = [list(p) for p in prompts]
        if self.backbone.model.config.is_encoder_decoder:
            tokens, mask = self._batch(self._prompts, left=False)
            with self.work.model(), torch.inference_mode(), still(self.backbone.model):
                self._encoded = (self.backbone.model.get_encoder()(tokens, attention_mask=mask)[0], mask)
        slots = self._enter(list(range(len(prompts))), [()] * len(prompts))
        return self._read(slots), slots

    def feed(self, parents: Int64, tokens: Int64) -> tuple[torch.Tensor, Int64]:
        """Feed tokens, each behind a slot; return (tokens, columns) logits and the slots."""
        place = {slot: row for row, slot in enumerate(self._cached.tolist())}
        rows: list[int] = []
        written: list[tuple[int, ...]] = []
        for parent, token in zip(parents.tolist(), tokens.tolist(), strict=True):
            inside = parent - self.next_slot
            rows.append(rows[inside] if inside >= 0 else self._row[parent])
            written.append((*(written[inside] if inside >= 0 else self._written[parent]), token))
        onward = all(parent in place for parent in parents.tolist())
        slots = self._enter(rows, written)
        return (
            self._go_on([place[p] for p in parents.tolist()], tokens, slots) if onward else self._read(slots)
        ), slots

    def logits(self, states: torch.Tensor) -> torch.Tensor:
        """Return the states: they are logits."""
        return states

    def logits_at(self, states: torch.Tensor, owner: Int64, columns: Int64) -> torch.Tensor:
        """Return the (pairs,) float32 logits of columns[i] in states[owner[i]]."""
        import torch

        return states[tuple(torch.from_numpy(a).to(states.device) for a in (owner, columns))]

    def _enter(self, rows: Sequence[int], written: Sequence[tuple[int, ...]]) -> Int64:
        first = self.next_slot
        self._row += rows
        self._written += written
        return np.arange(first, first + len(rows))

    def _batch(self, sequences: Sequence[Sequence[int]], *, left: bool) -> tuple[torch.Tensor, torch.Tensor]:
        """Pad token sequences to (sequences, longest) ids and their mask."""
        import torch

        tokens = padded([s[::-1] if left else s for s in sequences])
        tokens = tokens[:, ::-1] if left else tokens
        ids, mask = (torch.from_numpy(a.astype(np.int64)) for a in (np.maximum(tokens, 0), tokens >= 0))
        return ids.to(self.backbone.device), mask.to(self.backbone.device)

    def _read(self, slots: Int64) -> torch.Tensor:
        """Read the branches `slots` from their beginning into a fresh cache."""
        rows = [self._row[s] for s in slots.tolist()]
        written = [self._written[s] for s in slots.tolist()]
        if self._encoded is None:
            texts = [[*self._prompts[row], *tail] for row, tail in zip(rows, written, strict=True)]
        else:
            start = self.backbone.model.config.decoder_start_token_id
            texts = [[start, *tail] for tail in written]
        tokens, self._mask = self._batch(texts, left=True)
        self._cache, self._cached = None, slots
        return self._forward(tokens, rows)

    def _go_on(self, places: Sequence[int], tokens: Int64, slots: Int64) -> torch.Tensor:
        """Let tokens follow rows of the cache."""
        import torch

        where = torch.tensor(places, device=self.backbone.device)
        self._cache.reorder_cache(where)
        self._mask = torch.cat([self._mask[where], self._mask.new_ones(len(places), 1)], dim=1)
        self._cached = slots
        ids = torch.from_numpy(np.asarray(tokens, dtype=np.int64)).to(self.backbone.device)[:, None]
        return self._forward(ids, [self._row[s] for s in slots.tolist()])

    def _forward(self, tokens: torch.Tensor, rows: Sequence[int]) -> torch.Tensor:
        import torch

        model = self.backbone.model
        given: dict[str, Any] = {"past_key_values": self._cache, "use_cache": True}
        if self._encoded is None:
            given |= {"input_ids": tokens, "attention_mask": self._mask}
            if "position_ids" in self.backbone.arguments:
                positions = (self._mask.cumsum(-1) - 1).clamp(min=0)
                given["position_ids"] = positions[:, -tokens.shape[1] :]
        else:
            from transformers.modeling_outputs import BaseModelOutput

            states, mask = (part[torch.tensor(rows, device=tokens.device)] for part in self._encoded)
            given |= {"decoder_input_ids": tokens, "decoder_attention_mask": self._mask, "attention_mask": mask}
            given["encoder_outputs"] = BaseModelOutput(last_hidden_state=states)
        if "logits_to_keep" in self.backbone.arguments:
            given["logits_to_keep"] = 1
        with self.work.model(), torch.inference_mode(), still(model):
            out = model(**given)
        self._cache = out.past_key_values
        self.work.calls += 1
        self.work.tokens += tokens.numel()
        logits: torch.Tensor = out.logits[:, -1].float()
        vocabulary = self.backbone.vocabulary
        return logits if vocabulary is None else logits[:, torch.from_numpy(vocabulary).to(logits.device)]
