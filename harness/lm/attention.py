"""Attention over rows that branch: where keys and values lie, and how the tokens of one pass ask for them.

The model sees one sequence without padding; here it is laid on a grid of one line a row and back.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import numpy as np

from harness.lm.ragged import Int64

if TYPE_CHECKING:
    import torch


@dataclass(eq=False)
class Store:
    """Keys and values of every layer, (rows, heads, columns, width) each; made when the first ones come."""

    rows: int = 0
    columns: int = 0
    layers: dict[int, tuple[torch.Tensor, torch.Tensor]] = field(default_factory=dict)

    def resize(self, rows: int, columns: int) -> None:
        """Make room for so many rows and columns; what is kept stays."""
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

    def copy_from(self, other: Store, rows: torch.Tensor, columns: torch.Tensor) -> None:
        """Fill the first columns of each row from row rows[i] and columns columns[i] of another store."""
        for number, pair in other.layers.items():
            made = []
            for old in pair:
                new = old.new_zeros(self.rows, old.shape[1], self.columns, old.shape[3])
                new[:, :, : columns.shape[1]] = old[rows[:, None], :, columns].transpose(1, 2)
                made.append(new)
            self.layers[number] = (made[0], made[1])

    def part(self, row: int, columns: int, dtype: torch.dtype | None) -> Store:
        """Copy the first columns of one row; dtype: of the copy, None: as they are."""
        kept = Store(1, columns)
        for number, pair in self.layers.items():
            own = tuple(old[row : row + 1, :, :columns].to(dtype or old.dtype, copy=True) for old in pair)
            kept.layers[number] = (own[0].contiguous(), own[1].contiguous())
        return kept

    def stack(self, others: Sequence[tuple[Store, int]], dtype: torch.dtype | None = None) -> None:
        """Fill the rows, one store's below the other's, from the first columns of each, which are given beside it.

        dtype: to keep them in; None: as the others have it.
        """
        for number, pair in others[0][0].layers.items():
            made = tuple(
                old.new_zeros(self.rows, old.shape[1], self.columns, old.shape[3], dtype=dtype) for old in pair
            )
            first = 0
            for store, columns in others:
                for new, old in zip(made, store.layers[number], strict=True):
                    new[first : first + store.rows, :, :columns] = old[:, :, :columns]
                first += store.rows
            self.layers[number] = (made[0], made[1])

    @property
    def nbytes(self) -> int:
        """Bytes of all keys and values."""
        return sum(part.numel() * part.element_size() for pair in self.layers.values() for part in pair)


@dataclass(frozen=True, eq=False)
class Pass:
    """One forward pass: token i is written to (row[i], column[i]) and asks from (line[i], place[i]) of the grid.

    lines: rows of the grid in the store; None: all. shape: lines and places of the grid. mask: (lines, 1, places,
    columns) added to the attention's logits; None where the grid's places are the columns and each sees those before.
    """

    store: Store
    row: torch.Tensor
    column: torch.Tensor
    lines: torch.Tensor | None
    line: torch.Tensor
    place: torch.Tensor
    shape: tuple[int, int]
    mask: torch.Tensor | None


def places_in(groups: Int64) -> Int64:
    """Number the members of each group from 0, in order.

    >>> places_in(np.array([4, 2, 4])).tolist()
    [0, 0, 1]
    """
    order = np.argsort(groups, kind="stable")
    ordered = groups[order]
    place = np.empty_like(groups)
    place[order] = np.arange(len(groups)) - np.searchsorted(ordered, ordered, side="left")
    return place


def attend(
    module: Any, query: torch.Tensor, key: torch.Tensor, value: torch.Tensor, _: Any, **options: Any
) -> tuple[torch.Tensor, None]:
    """Attention over a lattice, in the form transformers asks for: (1, heads, tokens, width) in, tokens first out."""
    step: Pass = options["lattice_pass"]
    added = (x[0].transpose(0, 1) for x in (key, value))
    keys, values = step.store.write(module.layer_idx, step.row, step.column, *added)
    width = step.shape[1] if step.mask is None else step.mask.shape[-1]
    keys, values = keys[:, :, :width], values[:, :, :width]
    if step.lines is not None:
        keys, values = keys[step.lines], values[step.lines]
    lines, places = step.shape
    if lines == 1:
        grid = query
    else:
        grid = query.new_zeros(lines, places, query.shape[1], query.shape[3])
        grid[step.line, step.place] = query[0].transpose(0, 1)
        grid = grid.transpose(1, 2)
    seen = _softly(grid, keys, values, step.mask, options.get("scaling")).transpose(1, 2)
    return (seen if lines == 1 else seen[step.line, step.place][None]), None


def _softly(
    grid: torch.Tensor, keys: torch.Tensor, values: torch.Tensor, mask: torch.Tensor | None, scale: float | None
) -> torch.Tensor:
    """Return the (lines, heads, places, width) attention of a grid; without a mask each place sees those before it."""
    import torch

    attention = torch.nn.functional.scaled_dot_product_attention
    lines, heads, places, size = grid.shape
    groups = heads // keys.shape[1]
    if mask is None:
        return attention(grid, keys, values, is_causal=True, scale=scale, enable_gqa=groups > 1)
    # Heads that share keys and values ask as one head with more queries: nothing is repeated.
    asked = grid.reshape(lines, keys.shape[1], groups * places, size)
    wide = mask if groups == 1 else mask.repeat(1, 1, groups, 1)
    return attention(asked, keys, values, attn_mask=wide, scale=scale).reshape(lines, heads, places, -1)
