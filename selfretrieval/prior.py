"""How probable is what must be written when nobody asked: P(title), P(prefix | title), computed once.

Behind a question a passage of frequent words is likely whatever was asked, and so is a title that training questions
asked for. Taking log P(prefix | title) from log P(prefix | question, title) leaves their pointwise mutual information;
titles likewise (contextual calibration: Zhao et al. 2021; Holtzman et al. 2021). An addition to the paper.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import NamedTuple

import numpy as np

from harness.lm.backbone import Backbone
from harness.lm.lattice import require_lattice
from harness.lm.offsets import levels
from harness.lm.ragged import Int64
from harness.progress import SILENT, Progress
from selfretrieval import prompts
from selfretrieval.assess import token_logprobs
from selfretrieval.memory import Floats, Memory
from selfretrieval.settings import SelfRetrievalSettings

_ROW_TOKENS = 512
"""Tokens fed behind one copy of a title, unless one entry has more: bounds the memory."""
_ROWS = 16
"""Titles read at once."""
_TITLE_TOKENS = 1024
"""Tokens of titles fed behind one copy of the empty question, unless those that begin alike have more."""
_PASS_TOKENS = 4096
"""Of these so many at once at most: what each token sees is laid out for all tokens of a pass."""


def with_priors(
    backbone: Backbone, memory: Memory, settings: SelfRetrievalSettings, progress: Progress = SILENT
) -> Memory:
    """Return the memory with those priors that the settings ask for and that it does not have."""
    if settings.prior and not len(memory.prior):
        memory = replace(memory, prior=priors(backbone, memory, progress))
    if settings.title_prior and settings.titles and not len(memory.title_prior):
        nodes, values = title_priors(backbone, memory, progress)
        memory = replace(memory, title_nodes=nodes, title_prior=values)
    return memory


def priors(backbone: Backbone, memory: Memory, progress: Progress = SILENT) -> Floats:
    """Return the (entries,) log-probability of each entry's tokens up to its cut, behind its title alone."""
    cuts = memory.cuts()
    cue = backbone.encode([prompts.TITLE if memory.heads.any() else prompts.PASSAGE])[0]
    rows = _rows(memory, cuts)
    found = np.zeros(len(memory.rows))
    progress.phase("prior", len(rows), "titles")
    for first in range(0, len(rows), _ROWS):
        some = rows[first : first + _ROWS]
        heads = [[*cue, *memory.sequences[entries[0]][: memory.heads[entries[0]]].tolist()] for entries in some]
        targets = [[memory.target(e, int(cuts[e])) for e in entries] for entries in some]
        found[np.concatenate([np.array(e) for e in some])] = _totals(backbone, heads, targets)
        progress.advance(len(some))
    return found


class Unasked(NamedTuple):
    """The nodes of the trie of titles, (n,) each, and the log-probability of each token behind those before it."""

    node: Int64
    logprob: Floats


def title_priors(backbone: Backbone, memory: Memory, progress: Progress = SILENT) -> Unasked:
    """Return what titles are written with behind an empty question; 0 for tokens the head was trimmed of."""
    import torch

    below = list(levels(memory.titles))
    if not below:
        return Unasked(np.zeros(0, dtype=np.int64), np.zeros(0))
    first = np.cumsum([0, *(len(level.node) for level in below)])
    node, token = (np.concatenate([level[i] for level in below]) for i in range(2))
    parent = np.concatenate([below[0].parent - 1, *(f + x.parent for f, x in zip(first, below[1:], strict=False))])
    family = np.arange(len(node))  # the first token each begins with
    for f, level in zip(first[1:], below[1:], strict=False):
        family[f : f + len(level.node)] = family[parent[f : f + len(level.node)]]
    values = np.zeros(len(node))
    prompt = [*backbone.encode([prompts.question("")])[0], *backbone.encode([prompts.TITLE])[0]]
    progress.phase("prior of titles", len(node), "tokens")
    for mine in _together(family):
        lattice = require_lattice(backbone)
        states, slots = lattice.prefill([prompt])
        place = np.full(len(node) + 1, -1)  # of each node among mine; the last stands for the root
        place[mine] = np.arange(len(mine))
        before = place[parent[mine]]
        slot = np.where(before < 0, slots[0], lattice.next_slot + before)  # those of a level are behind the ones above
        passes = [slice(start, start + _PASS_TOKENS) for start in range(0, len(mine), _PASS_TOKENS)]
        fed = [lattice.feed(slot[some], token[mine[some]])[0] for some in passes]
        behind = torch.cat([states, *fed])[lattice.on_device(before + 1)]
        found = token_logprobs(backbone, behind, token[mine])
        values[mine] = np.where(np.isfinite(found), found, 0.0)
        progress.advance(len(mine))
    return Unasked(node, values)


def _together(family: Int64) -> list[Int64]:
    """Group positions so that a family stays together and a group has few more than `_TITLE_TOKENS`; each ascending."""
    sizes = np.bincount(family)
    group = (np.cumsum(sizes) - sizes) // _TITLE_TOKENS
    return [np.flatnonzero(group[family] == g) for g in np.unique(group[family])]


def _rows(memory: Memory, cuts: Int64) -> list[list[int]]:
    """Group the entries that need tokens by title, at most `_ROW_TOKENS` together."""
    groups: dict[bytes, list[list[int]]] = {}
    room: dict[bytes, int] = {}
    for entry in np.flatnonzero(cuts > 0).tolist():
        title = memory.sequences[entry][: memory.heads[entry]].tobytes()
        mine = groups.setdefault(title, [])
        if room.get(title, 0) < cuts[entry]:
            mine.append([])
            room[title] = _ROW_TOKENS
        mine[-1].append(entry)
        room[title] -= int(cuts[entry])
    return [row for rows in groups.values() for row in rows]


def _totals(backbone: Backbone, heads: Sequence[list[int]], targets: Sequence[Sequence[list[int]]]) -> Floats:
    """Sum the log-probabilities of each target behind its head; flat, in order."""
    import torch

    lattice = require_lattice(backbone)
    states, slots = lattice.prefill(heads)
    flat = [(row, target) for row, mine in enumerate(targets) for target in mine]
    parents: list[int] = []
    fed: list[int] = []
    at: list[int] = []  # of each target token the state that predicts it; those of the heads come first
    for row, target in flat:
        at.append(row)
        for place, token in enumerate(target[:-1]):
            parents.append(lattice.next_slot + len(fed) - 1 if place else int(slots[row]))
            fed.append(token)
            at.append(len(heads) + len(fed) - 1)
    if fed:
        states = torch.cat([states, lattice.feed(np.array(parents), np.array(fed))[0]])
    wanted = np.array([token for _, target in flat for token in target])
    values = token_logprobs(backbone, states[lattice.on_device(np.array(at))], wanted)
    owner = np.repeat(np.arange(len(flat)), [len(target) for _, target in flat])
    return np.bincount(owner, values, minlength=len(flat)).astype(np.float64)
