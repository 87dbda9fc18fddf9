"""A key-value cache for continuations that branch.

A row holds one prompt and every token any of its branches was ever given; no branch is copied or reordered when
a beam forks or dies. What a token sees is the prompt and its own branch, said by the attention mask. Beams, titles,
passages and assessments of one question thus share the prompt's keys and values, and a stage goes on from the
cache of the stage before.

The tokens of all rows go through the model as one sequence without padding; only the attention itself works row by
row. That is done by an attention function of our own, so the model must take one (`_supports_attention_backend`
in transformers) and `position_ids`, and all its layers must see everything before them.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from harness.errors import ConfigError
from harness.lm.attention import Pass, Store, attend, places_in
from harness.lm.backbone import Backbone, still
from harness.lm.packing import face
from harness.lm.ragged import Int64, spread
from harness.lm.session import Work
from harness.lm.trie import Bool

if TYPE_CHECKING:
    import torch

_NAME = "harness_lattice"
_SPARE = 48
"""Columns made at once beside those needed, so that keys and values seldom have to move."""
_LOOKAHEAD_TOKENS = {"cpu": 24, "cuda": 256}
"""Tokens a pass takes for little more than the time of one: there the weights' way from memory is what costs."""


class Lattice:
    """Feeds tokens to a backbone; each may follow any token fed before. See `harness.lm.session.Session`.

    A row's columns are its prompt and behind it, in the order they were fed, the tokens of all its branches.
    """

    def __init__(self, backbone: Backbone) -> None:
        self.backbone = backbone
        self.work = Work()
        self.lookahead_tokens = _LOOKAHEAD_TOKENS.get(backbone.device.type, 0)
        self._store = Store()
        self._prompt = np.zeros(0, dtype=np.int64)  # tokens of each row's prompt
        self._fed = np.zeros(0, dtype=np.int64)  # tokens fed behind it
        self._row = np.zeros(0, dtype=np.int64)  # of each slot
        self._place = np.zeros(0, dtype=np.int64)  # of each slot among those fed in its row; -1: the prompt's end
        self._parent = np.zeros(0, dtype=np.int64)  # slot before each slot; of a prompt's end itself

    def prefill(self, prompts: Sequence[Sequence[int]]) -> tuple[torch.Tensor, Int64]:
        """Start one row a prompt; return the (rows, hidden) state and the slot behind each prompt's last token."""
        lengths = np.array([len(p) for p in prompts], dtype=np.int64)
        self._begin(lengths)
        row, column, bounds = spread(np.zeros_like(lengths), lengths)
        with self.work.model():
            step = self._pass(row, column, mask=None)
            hidden = self._forward(np.concatenate([np.asarray(p) for p in prompts]), column, step)
            return hidden[self.on_device(bounds[1:] - 1)], np.arange(len(prompts))

    @property
    def next_slot(self) -> int:
        """Slot of the next token that is fed."""
        return len(self._row)

    def depth_of(self, slots: Int64) -> Int64:
        """(slots,) tokens of the prompt and the branch up to each."""
        depth: Int64 = self._prompt[self._row[slots]] + self._branch(slots).sum(axis=1)
        return depth

    def feed(self, parents: Int64, tokens: Int64) -> tuple[torch.Tensor, Int64]:
        """Feed tokens, each behind a slot, which may be one of the same call (see `next_slot`).

        Args:
            parents: (tokens,) slots, each below that of the token itself.
            tokens: (tokens,) token ids.

        Returns:
            (tokens, hidden) states and (tokens,) slots.
        """
        with self.work.model():
            first = self.next_slot
            row = self._rows_of(parents)
            place = self._fed[row] + places_in(row)
            np.add.at(self._fed, row, 1)
            self._make_room()
            self._row, self._place = np.concatenate([self._row, row]), np.concatenate([self._place, place])
            self._parent = np.concatenate([self._parent, parents])
            slots = np.arange(first, self.next_slot)
            seen = self._visible(slots)
            step = self._pass(row, self._prompt[row] + place, seen)
            return self._forward(tokens, seen.sum(axis=1) - 1, step), slots

    def feed_chains(self, slots: Sequence[int], chains: Sequence[Sequence[int]]) -> tuple[torch.Tensor, Int64]:
        """Feed each chain (not empty) behind its slot; return (chains, hidden) states and slots of the last tokens."""
        lengths = np.array([len(c) for c in chains], dtype=np.int64)
        last = np.cumsum(lengths) - 1
        parents = self.next_slot - 1 + np.arange(int(lengths.sum()))
        parents[last - lengths + 1] = slots
        states, fed = self.feed(parents, np.concatenate([np.asarray(c, dtype=np.int64) for c in chains]))
        return states[self.on_device(last)], fed[last]

    def fork(self, slots: Int64) -> tuple[Lattice, Int64]:
        """Return a lattice of one row a slot, whose prompt is that slot's branch, and the slots it stands at."""
        seen = self._visible(slots)
        lengths = seen.sum(axis=1)
        order = np.argsort(~seen, axis=1, kind="stable")[:, : int(lengths.max())]  # what is seen first, in order
        other = Lattice(self.backbone)
        other._begin(lengths)
        other._store.copy_from(self._store, self.on_device(self._row[slots]), self.on_device(order))
        return other, np.arange(len(slots))

    @classmethod
    def joined(cls, parts: Sequence[Lattice], dtype: torch.dtype | None = None) -> tuple[Lattice, Int64]:
        """Return a lattice with the prompts of several of the same backbone, and the slots behind them, in order.

        Their keys and values are copied; what was fed behind the prompts is left out.

        dtype: of the copies, which must be the backbone's where more is to be fed; None: as they are.
        """
        other = cls(parts[0].backbone)
        other._begin(np.concatenate([part._prompt for part in parts]))
        other._store.stack([(part._store, int(part._prompt.max())) for part in parts], dtype)
        return other, np.arange(len(other._prompt))

    @property
    def nbytes(self) -> int:
        """Bytes of the keys and values."""
        return self._store.nbytes

    def split(self, dtype: torch.dtype | None = None) -> list[Lattice]:
        """Return each row's prompt as a lattice of its own, without room for more; to be fed again, `joined` first.

        dtype: to keep keys and values in; None: as they are.
        """
        parts: list[Lattice] = []
        for row, length in enumerate(self._prompt):
            part = Lattice(self.backbone)
            part._begin(self._prompt[row : row + 1])
            part._store = self._store.part(row, int(length), dtype)
            parts.append(part)
        return parts

    def logits(self, states: torch.Tensor) -> torch.Tensor:
        """Map (n, hidden) states to (n, columns) float32 logits."""
        return self.backbone.logits(states)

    def logits_at(self, states: torch.Tensor, owner: Int64, columns: Int64) -> torch.Tensor:
        """Return the (pairs,) float32 logits of columns[i] behind states[owner[i]], without those of other tokens."""
        return self.backbone.logits_at(states, owner, columns)

    def on_device(self, values: np.ndarray) -> torch.Tensor:
        """Copy an array to where the model computes."""
        import torch

        return torch.from_numpy(np.ascontiguousarray(values)).to(self.backbone.device)

    def _begin(self, lengths: Int64) -> None:
        rows = len(lengths)
        self._prompt, self._fed = lengths, np.zeros(rows, dtype=np.int64)
        self._row, self._place, self._parent = np.arange(rows), np.full(rows, -1), np.arange(rows)
        self._store.resize(rows, int(lengths.max()) + _SPARE)

    def _make_room(self) -> None:
        columns = int((self._prompt + self._fed).max())
        if columns > self._store.columns:
            self._store.resize(len(self._fed), columns + columns // 2 + _SPARE)

    def _rows_of(self, parents: Int64) -> Int64:
        """(tokens,) row of tokens that follow `parents`, some of which may be tokens of the same call."""
        first, before = self.next_slot, parents
        while (inside := before >= first).any():
            before = np.where(inside, parents[np.where(inside, before - first, 0)], before)
        return self._row[before]

    def _branch(self, slots: Int64) -> Bool:
        """(slots, places) which tokens fed in its row each slot sees: itself and those before it, up to the prompt."""
        seen = np.zeros((len(slots), int(self._fed.max(initial=0))), dtype=np.bool_)
        mine = np.flatnonzero(self._place[slots] >= 0)
        at = slots[mine]
        while len(at):
            seen[mine, self._place[at]] = True
            at = self._parent[at]
            goes = self._place[at] >= 0
            mine, at = mine[goes], at[goes]
        return seen

    def _visible(self, slots: Int64) -> Bool:
        """(slots, columns) which columns of its row each slot sees: the prompt and its branch."""
        row = self._row[slots]
        prompt, branch = self._prompt[row], self._branch(slots)
        seen = np.arange(int((self._prompt + self._fed).max()))[None, :] < prompt[:, None]
        of, place = np.nonzero(branch)
        seen[of, prompt[of] + place] = True
        return seen

    def _pass(self, row: Int64, column: Int64, mask: Bool | None) -> Pass:
        """Say where the tokens go and what each sees, on a grid of one line a row; no mask: the columns before it."""
        import torch

        rows = len(self._fed)
        lines = np.unique(row)
        everyone = 2 * len(lines) > rows  # a few idle lines cost less than copying the others' keys and values
        lines = np.arange(rows) if everyone else lines
        line = np.searchsorted(lines, row)
        place = places_in(line)
        shape = (len(lines), int(place.max()) + 1)
        hidden = None
        if mask is not None:
            seen = np.zeros((*shape, mask.shape[1]), dtype=np.bool_)
            seen[:, :, 0] = True  # no empty softmax for what is not there
            seen[line, place] = mask
            hidden = torch.zeros(seen.shape, dtype=self.backbone.model.dtype)
            hidden = hidden.masked_fill_(~torch.from_numpy(seen), -torch.inf).to(self.backbone.device)[:, None]
        return Pass(
            store=self._store,
            row=self.on_device(row),
            column=self.on_device(column),
            lines=None if everyone else self.on_device(lines),
            line=self.on_device(line),
            place=self.on_device(place),
            shape=shape,
            mask=hidden,
        )

    def _forward(self, tokens: np.ndarray, position: Int64, step: Pass) -> torch.Tensor:
        import torch

        with torch.inference_mode():
            out = _model(self.backbone)(
                input_ids=self.on_device(tokens)[None],
                position_ids=self.on_device(position)[None],
                use_cache=False,
                lattice_pass=step,
            )
        self.work.calls += 1
        self.work.tokens += len(tokens)
        hidden: torch.Tensor = out.last_hidden_state[0]
        return hidden


def _model(backbone: Backbone) -> Any:
    """Return the model without its head, with the attention of a lattice."""
    from transformers import AttentionInterface

    def make() -> Any:
        AttentionInterface.register(_NAME, attend)
        return face(backbone.model.base_model, _NAME)

    return backbone.current("lattice model", make)


def branches(backbone: Backbone) -> bool:
    """Say whether a model can be fed through a lattice: tried once on a few tokens against its usual way."""
    if "branches" not in backbone.facts:
        backbone.facts["branches"] = _may_branch(backbone) and _branches_truly(backbone)
        if not backbone.facts["branches"]:
            backbone.facts.pop("lattice model", None)
    return bool(backbone.facts["branches"])


def require_lattice(backbone: Backbone) -> Lattice:
    """Return an empty lattice.

    Raises:
        ConfigError: the model cannot be fed through one.
    """
    if not branches(backbone):
        raise ConfigError(
            "a causal model with full attention in every layer that takes position_ids",
            backbone.model.config.model_type,
            "use a Llama-, Qwen2- or GPT-NeoX-like backbone",
        )
    return Lattice(backbone)


def _may_branch(backbone: Backbone) -> bool:
    model, config = backbone.model, backbone.model.config
    layers = getattr(config, "layer_types", None) or ["full_attention"]
    return (
        not config.is_encoder_decoder
        and getattr(model, "_supports_attention_backend", False)
        and set(layers) == {"full_attention"}
        and (getattr(config, "sliding_window", None) is None or not getattr(config, "use_sliding_window", True))
    )


_COMMON = 300
"""First token to ask with: behind control tokens and single bytes, which hardly occur in any text, vocabularies list
what is most frequent. What a model makes of control tokens alone is decided by rounding: SmolLM2-135M trained on 240
paragraphs differs there by as much between bfloat16 and float32 as between one prompt and another."""
_ROUNDING = {"half": 0.1, "single": 0.02}
"""What rounding may change of logits, as a share of how far they lie about their mean, by the precision of the weights.

SmolLM2-135M, trained and not, changes by .04 and less than .0001; what comes of another branch's tokens differs by .6
and more.
"""


def _branches_truly(backbone: Backbone) -> bool:
    """Compare the logits of branches of two prompts with those of plain forward passes."""
    import torch

    size = backbone.model.get_input_embeddings().weight.shape[0]
    first = min(_COMMON, size // 2)
    one, two, three, other, near, far = ((first + i) % size for i in range(6))
    prompts, branch = [[one, two, three], [other]], [near, far]
    lattice = Lattice(backbone)
    try:
        _, slots = lattice.prefill(prompts)
        parents = np.array([slots[0], lattice.next_slot, slots[1], slots[1]])
        states, _ = lattice.feed(parents, np.array([branch[0], branch[1], branch[1], branch[0]]))
        with torch.inference_mode():
            found = lattice.logits(states)
    except torch.OutOfMemoryError:
        raise
    except (TypeError, KeyError, RuntimeError, ValueError, AttributeError, IndexError):
        return False  # a model that does not hand the pass on to its attention, or has no layer numbers
    paths = [prompts[0] + branch[:1], prompts[0] + branch, prompts[1] + branch[1:], prompts[1] + branch[:1]]
    columns = slice(None) if backbone.vocabulary is None else torch.from_numpy(backbone.vocabulary)
    limit = _ROUNDING["half" if backbone.model.dtype.itemsize < 4 else "single"]
    with torch.inference_mode(), still(backbone.model):
        for logits, path in zip(found.cpu(), paths, strict=True):
            whole = backbone.model(torch.tensor([path], device=backbone.device)).logits[0, -1]
            plain = whole.float().cpu()[columns]
            if plain.shape != logits.shape:
                return False
            if not float((plain - logits).norm()) <= limit * float((plain - plain.mean()).norm()):  # nor where NaN
                return False
    return True
