"""Commands over runs that are over: gate, compare. `harness.cli` puts them beside its own."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Annotated

import typer

from harness.terminal import RunFolderArgument, say, terminal

commands = typer.Typer(rich_markup_mode=None)

REGRESSED = 1
"""Exit code of a gate that fails; that of a request that cannot be met is 2, as everywhere."""


@commands.command()
def compare(
    folders: Annotated[list[Path], typer.Argument(metavar="RUN RUN...", help="Folders of two or more runs.")],
    *,
    out: Annotated[Path, typer.Option(metavar="DIR", help="Folder to write the report to.")],
) -> None:
    """Overlay runs in one report. A dataset is shared only where the runs hold the same data."""
    from reports.compare import build

    say(str(build(folders, out)))


@commands.command()
def gate(
    folder: RunFolderArgument,
    *,
    baseline: Annotated[
        Path, typer.Option(metavar="FILE", help="Baseline, a JSON file; its Parquet file lies beside.")
    ],
    update: Annotated[bool, typer.Option("--update", help="Write the baseline from this run.")] = False,
    junit: Annotated[Path | None, typer.Option(metavar="FILE", help="Write the verdicts as JUnit XML too.")] = None,
    alpha: Annotated[
        float | None, typer.Option(metavar="A", help="Chance of a false alarm, over all comparisons together.")
    ] = None,
    min_drop: Annotated[
        float | None, typer.Option(metavar="D", help="Largest drop of a measure that does not matter; 0.01: one point.")
    ] = None,
    sets: Annotated[
        list[str] | None,
        typer.Option("--set", metavar="KEY=VALUE", help="Another threshold, e.g. memory_factor=2; may be repeated."),
    ] = None,
) -> None:
    """Compare a run with a baseline: OK, WARN or FAIL for each figure. Any FAIL ends with exit code 1."""
    from harness.gate import judge, quality, thresholds, updating
    from harness.gate.baseline import parquet_of, sizes
    from reports import gate as shown
    from reports import github

    changes = thresholds.changes_of(sets or (), alpha=alpha, min_drop=min_drop)
    if update:
        written = updating.update(folder, baseline, changes)
        say(f"a baseline of {len(written.cells())} systems on {len(written.figures.datasets)} datasets")
        say("\n".join(str(path) for path in (baseline, parquet_of(baseline))))
        if few := quality.too_few(sizes(written), written.figures.thresholds.alpha):
            say(f"note: {few}")
        return
    outcome = judge.gate(folder, baseline, changes)
    console = terminal()
    if console:
        console.print(shown.rich(outcome))
    else:
        say("\n".join(shown.plain(outcome)))
    say("\n".join(shown.closing(outcome)))
    if junit:
        shown.write_junit(outcome, junit)
    for line in github.announce(outcome, os.environ):
        say(line)
    if not outcome.passed:
        raise typer.Exit(REGRESSED)
