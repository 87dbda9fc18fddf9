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
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import numpy as np

from harness.errors import ConfigError
from harness.lm.backbone import Backbone
from harness.lm.packing import face
from harness.lm.ragged import Int64
from harness.lm.session import Work

if TYPE_CHECKING:
    import torch

_NAME = "harness_lattice"
_SPARE = 48
"""Columns made at once beside those needed, so that keys and values seldom have to move."""
_LOOKAHEAD_TOKENS = {"cpu": 24, "cuda": 256}
"""Tokens a pass takes for little more than the time of one: there the weights' way from memory is what costs."""


class Lattice:
    """Feeds tokens to a backbone; each may follow any token fed before. See `harness.lm.session.Session`."""

    def __init__(self, backbone: Backbone) -> None:
        self.backbone = backbone
        self.work = Work()
        self.lookahead_tokens = _LOOKAHEAD_TOKENS.get(backbone.device.type, 0)
        self._store = _Store()
        self._row = np.zeros(0, dtype=np.int64)  # of each slot
        self._column = np.zeros(0, dtype=np.int64)
        self._seen = np.zeros((0, 0, 0), dtype=np.bool_)  # (rows, columns, columns): which columns a column sees
        self._used = np.zeros(0, dtype=np.int64)  # columns in use, of each row

    def prefill(self, prompts: Sequence[Sequence[int]]) -> tuple[torch.Tensor, Int64]:
        """Start one row a prompt; return the (rows, hidden) state and the slot behind each prompt's last token."""
        lengths = np.array([len(p) for p in prompts], dtype=np.int64)
        width = int(lengths.max())
        self._make_room(len(prompts), width + _SPARE)
        self._seen[:, :width, :width] = np.tril(np.ones((width, width), dtype=np.bool_))
        row = np.repeat(np.arange(len(prompts)), lengths)
        column = np.arange(lengths.sum()) - np.repeat(np.cumsum(lengths) - lengths, lengths)
        self._used = lengths.copy()
        self._row, self._column = row, column
        with self.work.model():
            hidden = self._forward(np.concatenate([np.asarray(p) for p in prompts]), row, column, column)
        last = np.cumsum(lengths) - 1
        return hidden[self.on_device(last)], last

    @property
    def next_slot(self) -> int:
        """Slot of the next token that is fed."""
        return len(self._row)

    def row_of(self, slots: Int64) -> Int64:
        """(slots,) the prompt each belongs to."""
        return self._row[slots]

    def depth_of(self, slots: Int64) -> Int64:
        """(slots,) tokens of the prompt and the branch up to each."""
        depth: Int64 = self._seen[self._row[slots], self._column[slots]].sum(axis=1)
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
            first, count = self.next_slot, len(tokens)
            row, level = self._trace(parents, first)
            column = self._used[row] + _places(row)
            np.add.at(self._used, row, 1)
            self._make_room(len(self._used), int(self._used.max()))
            self._row, self._column = np.concatenate([self._row, row]), np.concatenate([self._column, column])
            for step in range(int(level.max()) + 1):
                at = np.flatnonzero(level == step)
                self._seen[row[at], column[at]] = self._seen[row[at], self._column[parents[at]]]
                self._seen[row[at], column[at], column[at]] = True
            slots = np.arange(first, first + count)
            return self._forward(tokens, row, column, self.depth_of(slots) - 1), slots

    def feed_chains(self, slots: Sequence[int], chains: Sequence[Sequence[int]]) -> tuple[torch.Tensor, Int64]:
        """Feed each chain (not empty) behind its slot; return (chains, hidden) states and slots of the last tokens."""
        lengths = np.array([len(c) for c in chains], dtype=np.int64)
        last = np.cumsum(lengths) - 1
        parents = self.next_slot - 1 + np.arange(int(lengths.sum()))
        parents[last - lengths + 1] = slots
        states, fed = self.feed(parents, np.concatenate([np.asarray(c, dtype=np.int64) for c in chains]))
        return states[self.on_device(last)], fed[last]

    def _trace(self, parents: Int64, first: int) -> tuple[Int64, Int64]:
        """Return each token's row, and how many tokens of the same call stand before it on its branch."""
        row, level = np.empty_like(parents), np.zeros_like(parents)
        inside = parents >= first
        row[~inside] = self._row[parents[~inside]]
        for i in np.flatnonzero(inside).tolist():  # ascending: parents come first
            row[i], level[i] = row[parents[i] - first], level[parents[i] - first] + 1
        return row, level

    def fork(self, slots: Int64) -> tuple[Lattice, Int64]:
        """Return a lattice of one row a slot, whose prompt is that slot's branch, and the slots it stands at."""
        seen = self._seen[self._row[slots], self._column[slots]]
        lengths = seen.sum(axis=1)
        width = int(lengths.max())
        order = np.argsort(~seen, axis=1, kind="stable")[:, :width]  # what is seen first; columns grow with position
        other = Lattice(self.backbone)
        other._make_room(len(slots), width + _SPARE)
        other._seen[:, :width, :width] = np.tril(np.ones((width, width), dtype=np.bool_))
        other._used = lengths.copy()
        other._row, other._column = np.arange(len(slots)), lengths - 1
        other._store.copy_from(self._store, self.on_device(self._row[slots]), self.on_device(order))
        return other, np.arange(len(slots))

    def logits(self, states: torch.Tensor) -> torch.Tensor:
        """Map (n, hidden) states to (n, columns) float32 logits."""
        return self.backbone.logits(states)

    def logits_at(self, states: torch.Tensor, owner: Int64, columns: Int64) -> torch.Tensor:
        """Return the (pairs,) float32 logits of columns[i] behind states[owner[i]], without those of other tokens."""
        return self.backbone.logits_at(states, owner, columns)

    def _make_room(self, rows: int, columns: int) -> None:
        have = self._seen.shape[1]
        if rows == len(self._seen) and columns <= have:
            return
        room = columns if not have else max(columns, have + have // 2 + _SPARE)
        seen = np.zeros((rows, room, room), dtype=np.bool_)
        seen[: len(self._seen), :have, :have] = self._seen
        self._seen = seen
        self._store.resize(rows, room)

    def on_device(self, values: np.ndarray) -> torch.Tensor:
        """Copy an array to where the model computes."""
        import torch

        return torch.from_numpy(np.ascontiguousarray(values)).to(self.backbone.device)

    def _forward(self, tokens: np.ndarray, row: Int64, column: Int64, position: Int64) -> torch.Tensor:
        import torch

        with torch.inference_mode():
            out = _model(self.backbone)(
                input_ids=self.on_device(tokens)[None],
                position_ids=self.on_device(position)[None],
                use_cache=False,
                lattice_pass=self._plan(row, column),
            )
        self.work.calls += 1
        self.work.tokens += len(tokens)
        hidden: torch.Tensor = out.last_hidden_state[0]
        return hidden

    def _plan(self, row: Int64, column: Int64) -> _Pass:
        """Say where the tokens go and what each sees, on a grid of one line a row."""
        import torch

        rows = len(self._used)
        lines = np.unique(row)
        everyone = 2 * len(lines) > rows  # a few idle lines cost less than copying the others' keys and values
        lines = np.arange(rows) if everyone else lines
        line = np.searchsorted(lines, row)
        place = _places(line)
        width = int(self._used.max())
        seen = np.zeros((len(lines), int(place.max()) + 1, width), dtype=np.bool_)
        seen[:, :, 0] = True  # no empty softmax for what is not there
        seen[line, place] = self._seen[row, column, :width]
        mask = torch.zeros(seen.shape, dtype=self.backbone.model.dtype).masked_fill_(
            ~torch.from_numpy(seen), -torch.inf
        )
        return _Pass(
            store=self._store,
            row=self.on_device(row),
            column=self.on_device(column),
            lines=None if everyone else self.on_device(lines),
            line=self.on_device(line),
            place=self.on_device(place),
            straight=len(lines) == 1,
            mask=mask.to(self.backbone.device)[:, None],
        )


@dataclass(eq=False)
class _Store:
    """Keys and values of every layer, (rows, heads, columns, width) each; made when the first ones come."""

    rows: int = 0
    columns: int = 0
    layers: dict[int, tuple[torch.Tensor, torch.Tensor]] = field(default_factory=dict)

    def resize(self, rows: int, columns: int) -> None:
        self.rows, self.columns = rows, columns
        for number, pair in self.layers.items():
            bigger = tuple(old.new_zeros(rows, old.shape[1], columns, old.shape[3]) for old in pair)
            for new, old in zip(bigger, pair, strict=True):
                new[:, :, : old.shape[2]] = old
            self.layers[number] = (bigger[0], bigger[1])

    def write(self, number: int, row: Any, column: Any, key: torch.Tensor, value: torch.Tensor) -> tuple[Any, Any]:
        """Keep the (tokens, heads, width) keys and values of a layer; return all it has."""
        if number not in self.layers:
            shape = (self.rows, key.shape[1], self.columns)
            self.layers[number] = (key.new_zeros(*shape, key.shape[2]), value.new_zeros(*shape, value.shape[2]))
        keys, values = self.layers[number]
        keys[row, :, column] = key
        values[row, :, column] = value
        return keys, values

    def copy_from(self, other: _Store, rows: torch.Tensor, columns: torch.Tensor) -> None:
        """Fill the first columns of each row from row rows[i] and columns columns[i] of another store."""
        for number, pair in other.layers.items():
            made = []
            for old in pair:
                new = old.new_zeros(self.rows, old.shape[1], self.columns, old.shape[3])
                new[:, :, : columns.shape[1]] = old[rows[:, None], :, columns].transpose(1, 2)
                made.append(new)
            self.layers[number] = (made[0], made[1])


@dataclass(frozen=True, eq=False)
class _Pass:
    """One forward pass: token i is written to (row[i], column[i]) and asks from (line[i], place[i]) of the grid.

    lines: rows of the grid in the store; None: all. straight: one line, so that the grid is the tokens themselves.
    mask: (lines, 1, places, columns) added to the attention's logits.
    """

    store: _Store
    row: torch.Tensor
    column: torch.Tensor
    lines: torch.Tensor | None
    line: torch.Tensor
    place: torch.Tensor
    straight: bool
    mask: torch.Tensor


def _places(groups: Int64) -> Int64:
    """Number the members of each group from 0, in order.

    >>> _places(np.array([4, 2, 4])).tolist()
    [0, 0, 1]
    """
    order = np.argsort(groups, kind="stable")
    ordered = groups[order]
    place = np.empty_like(groups)
    place[order] = np.arange(len(groups)) - np.searchsorted(ordered, ordered, side="left")
    return place


def _attend(
    module: Any, query: torch.Tensor, key: torch.Tensor, value: torch.Tensor, _: Any, **options: Any
) -> tuple[torch.Tensor, None]:
    """Attention over a lattice, in the form transformers asks for: (1, heads, tokens, width) in, tokens first out."""
    import torch

    step: _Pass = options["lattice_pass"]
    keys, values = step.store.write(
        module.layer_idx, step.row, step.column, *(x[0].transpose(0, 1) for x in (key, value))
    )
    width = step.mask.shape[-1]
    keys, values = keys[:, :, :width], values[:, :, :width]
    if step.lines is not None:
        keys, values = keys[step.lines], values[step.lines]
    _, heads, _, size = query.shape
    lines, places = step.mask.shape[0], step.mask.shape[2]
    if step.straight:
        grid = query
    else:
        grid = query.new_zeros(lines, places, heads, size)
        grid[step.line, step.place] = query[0].transpose(0, 1)
        grid = grid.transpose(1, 2)
    # Heads that share keys and values ask as one head with more queries: nothing is repeated.
    groups = heads // keys.shape[1]
    asked = grid.reshape(lines, keys.shape[1], groups * places, size)
    mask = step.mask if groups == 1 else step.mask.repeat(1, 1, groups, 1)
    seen = torch.nn.functional.scaled_dot_product_attention(
        asked, keys, values, attn_mask=mask, scale=options.get("scaling")
    )
    seen = seen.reshape(lines, heads, places, -1).transpose(1, 2)
    return (seen if step.straight else seen[step.line, step.place][None]), None


def _model(backbone: Backbone) -> Any:
    """Return the model without its head, with the attention of a lattice."""
    from transformers import AttentionInterface

    def make() -> Any:
        AttentionInterface.register(_NAME, _attend)
        return face(backbone.model.base_model, _NAME)

    return backbone.current("lattice model", make)


def branches(backbone: Backbone) -> bool:
    """Say whether a model can be fed through a lattice: tried once on a few tokens against its usual way."""
    if "branches" not in backbone.facts:
        backbone.facts["branches"] = _may_branch(backbone) and _branches_truly(backbone)
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


def _branches_truly(backbone: Backbone) -> bool:
    """Compare the states of two branches of two prompts with those of plain forward passes."""
    import torch

    prompts, branch = [[3, 5, 7], [4]], [6, 2]
    size = backbone.model.get_input_embeddings().weight.shape[0]
    prompts, branch = [[t % size for t in p] for p in prompts], [t % size for t in branch]
    lattice = Lattice(backbone)
    try:
        _, slots = lattice.prefill(prompts)
        first = lattice.next_slot
        parents = np.array([slots[0], first, slots[1], slots[1]])
        states, _ = lattice.feed(parents, np.array([branch[0], branch[1], branch[1], branch[0]]))
    except (TypeError, KeyError, RuntimeError, ValueError, AttributeError, IndexError):
        return False  # a model that does not hand the pass on to its attention, or has no layer numbers
    paths = [prompts[0] + branch[:1], prompts[0] + branch, prompts[1] + branch[1:], prompts[1] + branch[:1]]
    with torch.inference_mode():
        for state, path in zip(states, paths, strict=True):
            plain = backbone.model.base_model(torch.tensor([path], device=backbone.device)).last_hidden_state[0, -1]
            if not torch.allclose(plain.float(), state.float(), rtol=0.05, atol=0.02 * float(plain.abs().max())):
                return False
    return True
