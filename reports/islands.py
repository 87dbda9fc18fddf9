"""The data the page's script compares systems with: one JSON island a dataset, kept small enough for one light page.

Passages stand in one table, most wanted first, and everything else names them by row. Values are two bytes a query and
system, first hits four, both little-endian in base64. Where room is scarce, the least wanted passages lose their text,
then their title; values, hits and queries stay whole.
"""

from __future__ import annotations

import base64
import json
import struct
from collections import Counter
from collections.abc import Sequence
from typing import Any, NamedTuple

from harness.printable import printable
from reports.queries import Column, Ledger
from reports.units import count, label

LONGEST_TEXT, LONGEST_TITLE = 160, 80
"""Characters of a passage or query, and of a title."""
MOST_GOLD = 3
"""Relevant passages shown a query."""

_ESCAPES = {c: f"\\u{ord(c):04x}" for c in "<>&\u2028\u2029"}


class Island(NamedTuple):
    """JSON that may stand inside a script element, and what to say of it; empty where there was no room."""

    json: str
    notes: tuple[str, ...]


class _Draft(NamedTuple):
    """Everything of an island; `titles` and `texts` are cut from their ends."""

    fixed: dict[str, Any]
    titles: list[str]
    texts: list[str]
    notes: list[str]


def embed(value: object) -> str:
    """Write JSON that can neither end the script element it stands in nor begin another.

    >>> embed("</script> & <!--")
    '"\\\\u003c/script\\\\u003e \\\\u0026 \\\\u003c!--"'
    """
    text = json.dumps(value, ensure_ascii=False, separators=(",", ":"), allow_nan=False)
    return "".join(_ESCAPES.get(c, c) for c in text) if any(c in text for c in _ESCAPES) else text


def fit(ledgers: Sequence[Ledger], room_bytes: int) -> list[Island]:
    """Write the islands of all datasets into so many bytes; those that need little leave the rest to the others."""
    drafts = [_draft(ledger) for ledger in ledgers]
    needs = [_size(d.fixed) + sum(map(_size, d.titles + d.texts)) for d in drafts]
    islands: dict[int, Island] = {}
    for done, i in enumerate(sorted(range(len(drafts)), key=needs.__getitem__)):
        islands[i] = _filled(drafts[i], room_bytes // (len(drafts) - done))
        room_bytes -= len(islands[i].json.encode())
    return [islands[i] for i in range(len(drafts))]


def shorten(text: str, longest: int) -> str:
    r"""Cut a text to `longest` characters on one line; what would turn the lines around it is written out.

    >>> shorten("a  long\ntext", 6), shorten("\u202eder", 6)
    ('a lon…', '\\u202eder')
    """
    plain = " ".join(text[: 8 * longest].split())
    return printable(plain if len(plain) <= longest else plain[: longest - 1].rstrip() + "…")


def _draft(ledger: Ledger) -> _Draft:
    order = _wanted(ledger)
    row_of = {docid: row for row, docid in enumerate(order)}
    found = ledger.passages(order)
    passages = [found.get(docid) for docid in order]
    first = ledger.columns[0].system, ledger.columns[1].system
    fixed = {
        "measure": label(ledger.measure),
        "scale": ledger.scale,
        "systems": [_system(ledger, column, row_of) for column in ledger.columns],
        "first": first,
        "qids": [printable(query.qid) for query in ledger.queries],
        "queries": [shorten(query.text, LONGEST_TEXT) for query in ledger.queries],
        "gold": [[row_of[docid] for docid in gold[:MOST_GOLD]] for gold in ledger.gold],
        "golds": {str(i): len(gold) for i, gold in enumerate(ledger.gold) if len(gold) > MOST_GOLD},
        "docids": list(map(printable, order)),
        "titles": [],
        "texts": [],
    }
    titles = [shorten(p.title, LONGEST_TITLE) if p else "" for p in passages]
    texts = [shorten(p.text, LONGEST_TEXT) if p else "" for p in passages]
    return _Draft(fixed, titles, texts, _notes(ledger))


def _wanted(ledger: Ledger) -> list[str]:
    """List the docids the page may name: relevant ones, then those that most systems put first most often."""
    gold = Counter(docid for of_query in ledger.gold for docid in of_query[:MOST_GOLD])
    hits = Counter(docid for column in ledger.columns for docid in column.first if docid is not None)
    every = dict.fromkeys([*gold, *hits])
    return sorted(every, key=lambda docid: (docid not in gold, -gold[docid] - hits[docid]))


def _system(ledger: Ledger, column: Column, row_of: dict[str, int]) -> dict[str, str]:
    codes = ledger.codes[column.system]
    hits = [
        0 if docid is None else 2 * row_of[docid] + 2 + (docid in gold)
        for docid, gold in zip(column.first, ledger.gold, strict=True)
    ]
    return {
        "name": column.system,
        "family": column.family,
        "values": base64.b64encode(struct.pack(f"<{len(codes)}H", *codes)).decode(),
        "hits": base64.b64encode(struct.pack(f"<{len(hits)}I", *hits)).decode(),
    }


def _notes(ledger: Ledger) -> list[str]:
    notes = [
        f"Queries and passages are cut after {LONGEST_TEXT} characters, titles after {LONGEST_TITLE}; "
        f"at most {MOST_GOLD} relevant passages are shown."
    ]
    if ledger.several_seeds:
        notes.append("Several seeds: values are means over them, first hits are those of the first seed that is done.")
    if ledger.corpus is None:
        notes.append("The dataset is no longer in the run folder: queries and passages are named by their ids alone.")
    return notes


def _size(value: object) -> int:
    """Return the bytes of a value in an island, with the comma behind it."""
    return len(embed(value).encode()) + 1


def _filled(draft: _Draft, room_bytes: int) -> Island:
    left = room_bytes - _size(draft.fixed)
    if left < 0:
        n = count(len(draft.fixed["queries"]))
        return Island("", (f"The page has no room left for a comparison of the {n} queries one by one.",))
    titles = _leading(draft.titles, left)
    texts = _leading(draft.texts, left - sum(map(_size, titles)))
    notes = draft.notes + _cuts(len(draft.titles), len(titles), len(texts))
    return Island(embed(draft.fixed | {"titles": titles, "texts": texts}), tuple(notes))


def _leading(texts: list[str], room_bytes: int) -> list[str]:
    """Keep as many of the first texts as there is room for."""
    kept = []
    for text in texts:
        room_bytes -= _size(text)
        if room_bytes < 0:
            break
        kept.append(text)
    return kept


def _cuts(passages: int, titles: int, texts: int) -> list[str]:
    if texts == passages:
        return []
    untitled = f", {count(passages - titles)} of them without a title" if titles < passages else ""
    return [
        f"To keep the page light, {count(passages - texts)} of the {count(passages)} passages named here, those that "
        f"are first least often, stand without their text{untitled}; the run folder holds everything."
    ]
