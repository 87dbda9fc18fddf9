"""Tell GitHub Actions what a gate said: annotations on the run, and a table on its summary page.

https://docs.github.com/en/actions/reference/workflows-and-actions/workflow-commands
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from pathlib import Path

from harness.errors import StorageError
from harness.gate.verdicts import Outcome, Row, Verdict, sentence
from reports.gate import HEADINGS, lines
from reports.markup import md

COMMANDS = {Verdict.FAIL: "error", Verdict.WARN: "warning"}
SHOWN = 10
"""Annotations of a kind that GitHub shows for one step."""

MOST_BYTES = 900_000
"""GitHub refuses the summary of a step above 1 MiB."""


def announce(outcome: Outcome, environment: Mapping[str, str]) -> list[str]:
    """Write the step summary where there is one, and return the annotations to print; nothing outside GitHub Actions.

    Raises:
        StorageError: the summary cannot be written.
    """
    if environment.get("GITHUB_ACTIONS") != "true":
        return []
    if summary := environment.get("GITHUB_STEP_SUMMARY"):
        _append(Path(summary), markdown(outcome))
    return [line for verdict in COMMANDS for line in marked(outcome.having(verdict))]


def marked(rows: list[Row]) -> Iterator[str]:
    """Write rows of one verdict as commands that GitHub shows on the run; the last one counts those left out."""
    shown = rows if len(rows) <= SHOWN else rows[: SHOWN - 1]
    yield from (command(COMMANDS[row.verdict], f"gate {row.verdict}", sentence(row)) for row in shown)
    if shown != rows:
        left = f"{len(rows) - len(shown)} more are in the table of the step summary"
        yield command(COMMANDS[rows[0].verdict], f"gate {rows[0].verdict}", left)


def command(name: str, title: str, text: str) -> str:
    r"""Write a workflow command.

    >>> command("error", "a, b: c", "50%\n::error::x")
    '::error title=a%2C b%3A c::50%25%0A::error::x'
    """
    return f"::{name} title={_escaped(title, ':,')}::{_escaped(text)}"


def markdown(outcome: Outcome) -> str:
    """Write the summary: what stands out first, then every figure, folded away; too long a table is left out."""
    state = "passed" if outcome.passed else "failed"
    told = [f"## Retrieval gate {state}", outcome.count()]
    chosen = [texts for row, texts in zip(outcome.rows, lines(outcome), strict=True) if row.verdict is not Verdict.OK]
    told += [_table(chosen)] if chosen else []
    told += [f"- {md(note)}" for note in outcome.notes]
    short = "\n\n".join(told) + "\n"
    whole = f"<details><summary>All {len(outcome.rows)} figures</summary>\n\n{_table(lines(outcome))}\n\n</details>\n"
    both = f"{short}\n{whole}"
    if len(both.encode()) <= MOST_BYTES:
        return both
    return short if len(short.encode()) <= MOST_BYTES else "\n\n".join(told[:2]) + "\n"


def _table(rows: list[tuple[str, ...]]) -> str:
    written = [HEADINGS, ("---",) * len(HEADINGS), *(tuple(map(md, row)) for row in rows)]
    return "\n".join(f"| {' | '.join(row)} |" for row in written)


def _escaped(text: str, more: str = "") -> str:
    for sign in f"%\r\n{more}":
        text = text.replace(sign, f"%{ord(sign):02X}")
    return text


def _append(path: Path, text: str) -> None:
    try:
        with path.open("a", encoding="utf-8") as file:
            file.write(text)
    except OSError as error:
        reason = error.strerror or str(error)
        raise StorageError(f"to add to the step summary {path}", reason, "unset GITHUB_STEP_SUMMARY") from error
