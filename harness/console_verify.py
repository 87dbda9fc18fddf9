"""`harness verify`: print what was computed again, and end with exit code 1 where something differs."""

from __future__ import annotations

import typer

from harness.terminal import RunFolderArgument, say

DIFFERENT = 1
SHOWN = 50
"""Differences that are printed; one changed run file makes hundreds."""


def verify(folder: RunFolderArgument) -> None:
    """Compute every measure, interval and test of a run again from its stored hits; any difference is an error."""
    from harness import verify as checking

    verdict = checking.verify(folder)
    say("\n".join(f"checked      {line}" for line in verdict.checked))
    say("\n".join(f"not checked  {line}" for line in checking.UNCHECKED))
    if verdict.notes:
        say("\n".join(f"note         {line}" for line in verdict.notes))
    if not verdict.differences:
        say(f"verified: {verdict.figures:,} figures, no difference")
        return
    for found in verdict.differences[:SHOWN]:
        say(f"DIFFERENT    {found.cell}: {found.what}: stored {found.stored}, recomputed {found.recomputed}")
    say(f"not verified: {len(verdict.differences):,} of {verdict.figures:,} figures differ")
    raise typer.Exit(DIFFERENT)
