"""What is asked of a run at the paper's scale when it is done, and its cost: answers for Table 5, beams for Table 9."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING

from reports.paper import cost
from reports.paper.cost import Load
from reports.paper.published import PublishedTable
from reports.paper.recipes import Recipe

if TYPE_CHECKING:
    from reports.paper.scale import Scaled


@dataclass(frozen=True)
class Step:
    """One command: its arguments, and what its searches cost; what it reads is on disk already."""

    arguments: tuple[str, ...]
    loads: tuple[Load, ...]

    @property
    def search_h(self) -> float:
        """GPU hours."""
        return sum(load.search_h for load in self.loads)


def steps(recipe: Recipe, table: PublishedTable | None, scaled: Scaled) -> Iterator[Step]:
    """Make the command that a recipe asks for when an experiment is done, if it does; `table`: as it is printed."""
    if recipe.afterwards:
        given = tuple(part.format(run=f"runs/{scaled.name}") for part in recipe.afterwards)
        yield _beams(given, recipe, table, scaled) if table and recipe.shape == "beams" else _answers(given, scaled)


def _answers(given: tuple[str, ...], scaled: Scaled) -> Step:
    """Let the systems answer every test query, not the first 100 alone: each searches once more."""
    return Step((*given, "--limit", str(scaled.data.test)), scaled.loads)


def _beams(given: tuple[str, ...], recipe: Recipe, table: PublishedTable, scaled: Scaled) -> Step:
    """Search with the beams that the paper prints alone, and with the systems that stand beside its rows."""
    beams = [table.value(row, "beam") for row in table.rows]
    sizes = sorted({int(beam) for beam in beams if isinstance(beam, int | float)})
    usual = {"self-retrieval": cost.TITLES, "dsi": cost.DSI_BEAM}
    own = [load for load in scaled.loads if load.system in recipe.counterparts.values()]
    # A wider beam reads and writes in proportion.
    loads = tuple(load._replace(search_tokens=load.search_tokens * sum(sizes) / usual[load.system]) for load in own)
    named = ",".join(load.system for load in own)
    return Step((*given, "--sizes", ",".join(map(str, sizes)), "--systems", named), loads)
