"""The points of a figure, as far as the paper prints them elsewhere, and those measured here."""

from __future__ import annotations

import re
from collections.abc import Collection, Iterable, Iterator
from dataclasses import dataclass

from reports import units
from reports.markup import Cell, Line, Table
from reports.paper import tables
from reports.paper.measured import Group, Measured
from reports.paper.published import Published
from reports.paper.recipes import Recipe
from reports.paper.tables import HERE, PUBLISHED

HITS = {"Hits@1": "Success@1", "Hits@5": "Success@5"}
RECIPROCAL = {"MRR@5": "RR@5"}
OWN, CROSS, SELF = "own order", "cross-encoder", "self-assessment"
_SUFFIXES = {"M": 1e6, "B": 1e9}


@dataclass(frozen=True)
class Point:
    """One point or bar. `series`: the line it belongs to; `at`: its place, in words; `x`: on the axis.

    values: measure as people say it -> percent. source: the table that prints it, or the cell it comes from.
    """

    series: str
    family: str
    at: str
    x: float
    values: dict[str, float]
    source: str


@dataclass(frozen=True)
class Points:
    """Everything one figure shows; `measures` as people say them, `axis` what x is."""

    measures: tuple[str, ...]
    axis: str
    published: tuple[Point, ...]
    here: tuple[Point, ...]


def points(recipe: Recipe, published: Published, measured: Measured | None) -> Points:
    """Collect the points of a figure."""
    if recipe.shape == "capacity":
        here = _capacities(measured) if measured else ()
        return _complete(HITS, "size of the language model", _printed_capacities(published), here)
    if recipe.shape == "reranking":
        here = _rerankings(measured) if measured else ()
        return _complete(RECIPROCAL, "what finds the candidates", _printed_rerankings(published), here)
    here = _corpora(measured) if measured else ()
    return _complete(HITS, "documents of the corpus", (), here)


def _complete(measures: Collection[str], axis: str, published: Iterable[Point], here: Iterable[Point]) -> Points:
    """Leave out points that were not measured in full."""
    whole = (tuple(p for p in found if p.values.keys() == set(measures)) for found in (published, here))
    return Points(tuple(measures), axis, *whole)


def table(recipe: Recipe, published: Published, measured: Measured | None) -> Table:
    """Write the points of a figure as a table."""
    shown = points(recipe, published, measured)
    heads = ("Series", "At", *(f"{measure}, percent" for measure in shown.measures), "From")
    lines = [_line(PUBLISHED, point, shown) for point in shown.published]
    lines += [_line(HERE, point, shown) for point in shown.here]
    drawn = f"{PUBLISHED.capitalize()} figure: {published.figures[recipe.number]}"
    notes = (drawn, *tables.notes_of(recipe, published, measured if shown.here else None))
    return Table(
        recipe.slug, tables.caption_of(recipe, measured if shown.here else None), heads, tuple(lines), notes, texts=2
    )


def _line(group: str, point: Point, shown: Points) -> Line:
    figures = (tables.figure(point.values.get(measure)) for measure in shown.measures)
    return Line(group, (Cell(point.series), Cell(point.at), *figures, Cell(point.source)))


def parameters(text: str) -> float:
    """Read a number of parameters.

    >>> parameters("2.8B"), parameters("335M")
    (2800000000.0, 335000000.0)
    """
    return float(text[:-1]) * _SUFFIXES[text[-1]]


def _printed_capacities(published: Published) -> Iterator[Point]:
    """Table 1 prints two of the backbones of Figure 2 on Natural Questions."""
    printed = published.tables[1]
    for row in printed.rows:
        name, size = printed.text(row, "system"), printed.text(row, "params")
        if printed.text(row, "family") == "self-retrieval":
            values = {said: printed.figure(name, f"nq.{said.lower()}") or 0.0 for said in HITS}
            backbone = name.partition("(")[2].rstrip(")")
            yield Point(f"{backbone}, NQ", "self-retrieval", size, parameters(size), values, "Table 1")


def _capacities(measured: Measured) -> Iterator[Point]:
    for data in measured.data:
        for group in data.groups.values():
            size = group.meter("parameter_bytes")
            if group.registered == "self-retrieval" and size:
                at = f"{group.system}: {units.size(size)} of weights"
                yield Point(data.label, group.family, at, size, _values(group, HITS), group.fingerprints)


def _printed_rerankings(published: Published) -> Iterator[Point]:
    """Tables 1 and 8 print some of the bars of Figure 3 on TriviaQA."""
    for number, place, names in ((1, OWN, ("DPR-FT", "SEAL", "GritLM")), (8, CROSS, ("GritLM + BGE-Reranker-FT",))):
        for name in names:
            value = published.tables[number].figure(name, "triviaqa.mrr@5")
            if value is not None:
                yield Point(name.partition(" + ")[0], "", place, 0.0, {"MRR@5": value}, f"Table {number}")


def _rerankings(measured: Measured) -> Iterator[Point]:
    """Find each first system's own order and what reranks it, by the settings of the systems."""
    for data in measured.data:
        firsts = dict.fromkeys(str(g.settings["first"]) for g in data.groups.values() if g.registered == "self-rerank")
        for first in firsts:
            for place, group in _behind(first, list(data.groups.values())):
                name = first if len(measured.data) == 1 else f"{first}, {data.label}"
                yield Point(name, group.family, place, 0.0, _values(group, RECIPROCAL), group.fingerprints)


def _behind(first: str, groups: list[Group]) -> Iterator[tuple[str, Group]]:
    kinds = {OWN: (first, None), CROSS: ("rerank", first), SELF: ("self-rerank", first)}
    for place, (registered, wanted) in kinds.items():
        for group in groups:
            if group.registered == registered and wanted in (None, group.settings.get("first")):
                yield place, group
                break


def _corpora(measured: Measured) -> Iterator[Point]:
    """List the systems by size of the corpus; data of an unknown number of documents has no place on the axis."""
    kinds = {_kind(data.name) for data in measured.data if data.corpus.get("documents")}
    for label in measured.systems:
        for data in measured.data:
            documents, group = data.corpus.get("documents"), data.groups.get(label)
            if group and documents and group.family != tables.BRACKET:
                at = f"{units.count(documents)} documents"
                series = label if len(kinds) == 1 else f"{label}, {_kind(data.name)}"
                yield Point(series, group.family, at, float(documents), _values(group, HITS), group.fingerprints)


def _kind(name: str) -> str:
    """Name what a dataset of some size is cut from: one line of the figure joins its sizes, and no others.

    >>> _kind("vital-articles/5k"), _kind("vital-articles/500"), _kind("kilt:kilt/nq")
    ('vital-articles', 'vital-articles', 'kilt:kilt/nq')
    """
    return re.sub(r"/[0-9]+k?$", "", name)


def _values(group: Group, measures: dict[str, str]) -> dict[str, float]:
    return {said: value for said, name in measures.items() if (value := group.percent(name)) is not None}
