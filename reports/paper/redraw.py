"""Write the files of one table or figure, or of all of them, into a folder."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from harness.atomic import write_text
from harness.errors import StorageError
from reports import markup
from reports.markup import Table
from reports.paper import figures, measured, points, scale, tables
from reports.paper.measured import Found, Measured
from reports.paper.published import Published
from reports.paper.recipes import RECIPES, Recipe
from reports.plots import Drawing

PAGE = "paper.md"
_SHAPES = {"rows": tables.build, "beams": tables.efficiency, "sizes": tables.sizes}


@dataclass(frozen=True)
class Redrawn:
    """What came of one recipe. `measured`: the results beside the published ones; None: there were none."""

    recipe: Recipe
    table: Table
    drawing: Drawing | None
    measured: Measured | None
    files: tuple[Path, ...]


def redraw(
    recipe: Recipe, published: Published, found: Sequence[Found], out: Path, experiments: Sequence[str] = ()
) -> Redrawn:
    """Write a table as Markdown, LaTeX and CSV, and a figure as PNG, SVG and PDF with its points as a table.

    Args:
        recipe: what to redraw.
        published: what the paper prints.
        found: what was measured here.
        out: folder, made where missing.
        experiments: fill it from the results of these, whatever the recipe says.

    Raises:
        DataError: there are no results of one of `experiments`.
        StorageError: the file system refused.
    """
    chosen = measured.choose(recipe, found, experiments, scale.names(recipe, published))
    make = _SHAPES.get(recipe.shape, points.table)
    table = make(recipe, published, chosen)
    files = []
    for ending, write in markup.WRITERS.items():
        files.append(out / f"{recipe.slug}.{ending}")
        write_text(files[-1], write(table), recipe.name)
    drawing = _drawn(recipe, published, chosen, out) if recipe.kind == "figure" else None
    if drawing:
        files += [out / f"{recipe.slug}.{ending}" for ending in ("png", "svg", "pdf")]
    return Redrawn(recipe, table, drawing, chosen, tuple(files))


def _drawn(recipe: Recipe, published: Published, chosen: Measured | None, out: Path) -> Drawing:
    try:
        return figures.draw(recipe, published, chosen, out)
    except OSError as error:
        reason = error.strerror or str(error)
        raise StorageError(
            f"to draw {recipe.name} into {out}", reason, "free some room, or name another folder"
        ) from error


def page(made: Sequence[Redrawn], out: Path) -> Path:
    """Write all that was redrawn as one Markdown page beside the figures, and return its path."""
    parts = ["# The paper, redrawn\n"]
    for one in made:
        parts.append(f"## {one.recipe.name}: {markup.md(one.recipe.title)}\n")
        if one.drawing:
            parts.append(f"![{markup.md(one.drawing.alt)}]({one.recipe.slug}.png)\n")
        parts.append(markup.to_md(one.table))
    write_text(out / PAGE, "\n".join(parts), "the redrawn paper")
    return out / PAGE


def listed() -> tuple[tuple[str, ...], list[tuple[str, ...]]]:
    """Return heads and rows that list every table and figure, and which commands fill it."""
    rows: list[tuple[str, ...]] = []
    for recipe in RECIPES:
        printed = "drawn, not printed" if recipe.kind == "figure" else "printed"
        printed = "no Table 6 in the file" if recipe.number == 6 and recipe.kind == "table" else printed
        rows.append((recipe.name, recipe.title, printed, tables.how_to(recipe).removeprefix("run ")))
    return ("what", "title", "published numbers", "what fills it here"), rows
