"""The commands of `harness paper`: list, table, figure, all. Part of the command line, which may name everything."""

from __future__ import annotations

from collections.abc import Sequence
from enum import StrEnum
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from harness.errors import ConfigError
from harness.terminal import say

if TYPE_CHECKING:
    from reports.paper.measured import Found
    from reports.paper.recipes import Recipe
    from reports.paper.redraw import Redrawn
    from reports.paper.scale import Plan

paper = typer.Typer(
    no_args_is_help=True,
    rich_markup_mode=None,
    help="Redraw the paper's tables and figures: what it prints beside what was measured here.",
)

OUT = Path("runs/paper")


class Scale(StrEnum):
    """At which size an experiment is done again."""

    laptop = "laptop"
    paper = "paper"


ScaleOption = Annotated[
    Scale,
    typer.Option(help="laptop: from results measured here. paper: the recipe at full size, with its cost beforehand."),
]
OutOption = Annotated[Path, typer.Option(metavar="DIR", help="Folder for the files.")]
ResultsOption = Annotated[
    list[Path] | None, typer.Option("--results", metavar="FILE", help="Kept results (`harness keep`); may be repeated.")
]
RunOption = Annotated[
    list[Path] | None,
    typer.Option("--run", metavar="RUN", help="Folder of a run; may be repeated. [default: those in runs/ that suit]"),
]
ExperimentOption = Annotated[
    list[str] | None,
    typer.Option(
        "--experiment",
        metavar="NAME",
        help="With --scale laptop: fill it from the results of this experiment; may be repeated, data beside data.",
    ),
]
RunExperimentsOption = Annotated[
    bool, typer.Option("--run-experiments", help="First run the experiment that fills it; finished cells are kept.")
]
YesOption = Annotated[bool, typer.Option("--yes", help="With --scale paper: start, once the cost has been printed.")]


@paper.command(name="list")
def list_() -> None:
    """List the tables and figures, whether their numbers are printed, and which commands fill them here."""
    from harness.listing import Listing
    from reports.paper.redraw import listed

    say("\n".join(Listing(*listed()).plain()))


@paper.command()
def table(
    number: Annotated[int, typer.Argument(metavar="N", help="Number of the table, 1 to 9.")],
    *,
    scale: ScaleOption = Scale.laptop,
    out: OutOption = OUT,
    results: ResultsOption = None,
    runs: RunOption = None,
    experiments: ExperimentOption = None,
    run_experiments: RunExperimentsOption = False,
    yes: YesOption = False,
) -> None:
    """Redraw a table, as Markdown, LaTeX and CSV."""
    from reports.paper.recipes import find

    recipes = [find("table", number)]
    if scale is Scale.paper:
        _show(_full_size(recipes, out, yes, results, runs, run=run_experiments))
    else:
        found = _found(recipes, results, runs, run_experiments, experiments or ())
        _show(_redraw(recipes, out, found, experiments or ()))


@paper.command()
def figure(
    number: Annotated[int, typer.Argument(metavar="N", help="Number of the figure, 2 to 4.")],
    *,
    scale: ScaleOption = Scale.laptop,
    out: OutOption = OUT,
    results: ResultsOption = None,
    runs: RunOption = None,
    experiments: ExperimentOption = None,
    run_experiments: RunExperimentsOption = False,
    yes: YesOption = False,
) -> None:
    """Redraw a figure as PNG, SVG and PDF, with its points as a table."""
    from reports.paper.recipes import find

    recipes = [find("figure", number)]
    if scale is Scale.paper:
        _show(_full_size(recipes, out, yes, results, runs, run=run_experiments))
    else:
        found = _found(recipes, results, runs, run_experiments, experiments or ())
        _show(_redraw(recipes, out, found, experiments or ()))


@paper.command(name="all")
def all_(
    *,
    scale: ScaleOption = Scale.laptop,
    out: OutOption = OUT,
    results: ResultsOption = None,
    runs: RunOption = None,
    run_experiments: RunExperimentsOption = False,
    yes: YesOption = False,
) -> None:
    """Redraw every table and figure, and put them on one Markdown page."""
    from reports.paper import redraw
    from reports.paper.recipes import RECIPES

    if scale is Scale.paper:
        _show(_full_size(RECIPES, out, yes, results, runs, run=run_experiments))
        return
    made = _redraw(RECIPES, out, _found(RECIPES, results, runs, run_experiments))
    for one in made:
        beside = one.measured.experiment if one.measured else "nothing measured here yet"
        say(f"{one.recipe.name:<9} {beside}")
    say(str(redraw.page(made, out)))


def _found(
    recipes: Sequence[Recipe],
    results: list[Path] | None,
    runs: list[Path] | None,
    run: bool = False,
    experiments: Sequence[str] = (),
) -> list[Found]:
    """Read what was measured here: what was named, and the runs of the recipes where nothing was or they were run."""
    from reports.paper import measured

    if run:
        _run_experiments(recipes)
    own = _suitable(recipes, experiments) if run or not (results or runs) else []
    folders = {folder.resolve(): folder for folder in [*own, *(runs or [])]}
    return measured.gather(results or [], list(folders.values()))


def _redraw(recipes: Sequence[Recipe], out: Path, found: list[Found], experiments: Sequence[str] = ()) -> list[Redrawn]:
    from reports.paper import published, redraw

    printed = published.load()
    return [redraw.redraw(recipe, printed, found, out, experiments) for recipe in recipes]


def _suitable(recipes: Sequence[Recipe], experiments: Sequence[str] = ()) -> list[Path]:
    """Find the folders that `harness run` makes of these experiments and of those of the recipes, where they are."""
    from reports.paper import published, scale

    printed = published.load()
    own = (name for recipe in recipes for name in (*recipe.experiments, *scale.names(recipe, printed)))
    folders = (Path("runs") / name for name in dict.fromkeys((*experiments, *own)))
    return [folder for folder in folders if (folder / "experiment.json").is_file()]


def _show(made: Sequence[Redrawn]) -> None:
    from reports.markup import to_md

    for one in made:
        say(to_md(one.table))
        say("\n".join(map(str, one.files)))


def _run_experiments(recipes: Sequence[Recipe]) -> None:
    """Give the commands that fill these tables, one after the other, as a user would.

    A failed cell of a run shows in the table; anything else that goes wrong ends it with the same exit code.
    """
    from harness.cli import INCOMPLETE, main

    given = dict.fromkeys(command for recipe in recipes for command in _commands(recipe))
    for command in given:
        say("$ harness " + " ".join(command))
        code = main(command)
        if code not in (0, INCOMPLETE):
            raise typer.Exit(code)


def _commands(recipe: Recipe) -> list[tuple[str, ...]]:
    """Return the arguments of the commands that fill a table, in order."""
    if recipe.experiment is None:
        return []
    folder = str(Path("runs") / recipe.experiment)
    then = [tuple(part.format(run=folder) for part in recipe.then)] if recipe.then else []
    return [("run", recipe.experiment), *then]


def _full_size(
    recipes: Sequence[Recipe], out: Path, yes: bool, results: list[Path] | None, runs: list[Path] | None, *, run: bool
) -> list[Redrawn]:
    """Print what the paper's own scale costs, write its recipe, and start it where that was asked for and can be.

    Returns:
        What could be redrawn from the results at that scale that are there by then.

    Raises:
        ConfigError: `run`, which is asked for at a laptop's scale.
    """
    from reports.paper import published, scale, starting

    if run:
        fix = "start it with --yes, or leave out --scale paper"
        raise ConfigError("--run-experiments with --scale laptop", "--scale paper", fix)
    printed = published.load()
    plans = [plan for recipe in recipes if (plan := scale.plan(recipe, printed)).experiments]
    if not plans:
        say(f"{recipes[0].name}: there is nothing to run for it")
        return []
    say("\n".join(starting.told(plans)))
    written = starting.write(plans, out)
    say("\n".join(map(str, written)))
    if yes:
        starting.check(plans)
        starting.start(plans, out)
    else:
        say("nothing was started: give the same command with --yes to start")
    return _of_full_size(plans, out, _found(recipes, results, runs))


def _of_full_size(plans: Sequence[Plan], out: Path, found: list[Found]) -> list[Redrawn]:
    """Redraw what results at the paper's scale fill, from them alone."""
    from reports.paper import measured

    own = [(plan.recipe, [f for f in found if f.cell["experiment"] in plan.names]) for plan in plans]
    filled = [(recipe, of) for recipe, of in own if measured.choose(recipe, of, (), [f.cell["experiment"] for f in of])]
    return [one for recipe, of in filled for one in _redraw([recipe], out, of)]
