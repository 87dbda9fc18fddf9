"""The verdicts of a gate as a table for people and as JUnit XML for machines."""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING
from xml.etree import ElementTree

from harness.atomic import replacing
from harness.gate.verdicts import Outcome, Row, Verdict, sentence
from reports import units

if TYPE_CHECKING:
    from rich.table import Table

HEADINGS = ("verdict", "dataset", "system", "figure", "baseline", "now", "p", "reason")
COLOURS = {Verdict.OK: "green", Verdict.WARN: "yellow", Verdict.FAIL: "bold red"}

_NOT_XML = re.compile("[^\t\n\r\x20-\ud7ff\ue000-\ufffd\U00010000-\U0010ffff]")
"""Characters no XML document may hold, not even escaped."""


def lines(outcome: Outcome) -> list[tuple[str, ...]]:
    """Write each verdict as texts, in the order of `HEADINGS`."""
    return [
        (
            row.verdict.value,
            *map(one_line, (row.dataset or "–", row.system or "–", row.what)),
            figure(row.before, row.unit),
            figure(row.now, row.unit),
            "–" if row.p is None else f"{row.p:.2g}",
            one_line(row.reason),
        )
        for row in outcome.rows
    ]


def plain(outcome: Outcome) -> list[str]:
    """Write the table for a pipe: headings, then one line a verdict."""
    from harness.listing import Listing

    return Listing(HEADINGS, lines(outcome)).plain()


def rich(outcome: Outcome) -> Table:
    """Draw the table for a terminal."""
    from rich.box import SIMPLE_HEAD
    from rich.table import Table
    from rich.text import Text

    table = Table(box=SIMPLE_HEAD, pad_edge=False)
    for heading in HEADINGS:
        table.add_column(heading, justify="right" if heading in ("baseline", "now", "p") else "left")
    for row, texts in zip(outcome.rows, lines(outcome), strict=True):
        table.add_row(Text(texts[0], style=COLOURS[row.verdict]), *map(Text, texts[1:]))
    return table


def closing(outcome: Outcome) -> Iterator[str]:
    """Say what stands out and how it ended: what somebody reads who looks at the last lines alone."""
    for verdict in (Verdict.WARN, Verdict.FAIL):
        yield from (f"{verdict} {one_line(sentence(row))}" for row in outcome.having(verdict))
    yield from (f"note: {one_line(note)}" for note in outcome.notes)
    yield f"gate {'passed' if outcome.passed else 'FAILED'}: {outcome.count()}"


def figure(value: float | None, unit: str) -> str:
    """Write a figure.

    >>> figure(0.51234, "score"), figure(12.3456, "ratio"), figure(None, "score")
    ('0.5123', '12×', '–')
    """
    if value is None:
        return "–"
    return {"bytes": units.size, "ratio": units.ratio}.get(unit, "{:.4f}".format)(value)


def one_line(text: str) -> str:
    """Join lines and drop control characters, which a terminal or a log might obey."""
    return " ".join("".join(c if c.isprintable() else " " for c in text).split())


def junit(outcome: Outcome) -> str:
    """Write JUnit XML: one test case a verdict; a warning is a passed case with a text, for JUnit has none."""
    suite = ElementTree.Element("testsuite", name="harness gate", tests=str(len(outcome.rows)), errors="0", skipped="0")
    suite.set("failures", str(len(outcome.having(Verdict.FAIL))))
    for row in outcome.rows:
        suite.append(_case(row))
    if outcome.notes:
        ElementTree.SubElement(suite, "system-out").text = xml_text("\n".join(outcome.notes))
    root = ElementTree.Element("testsuites")
    root.append(suite)
    ElementTree.indent(root, " ")
    return '<?xml version="1.0" encoding="UTF-8"?>\n' + ElementTree.tostring(root, encoding="unicode") + "\n"


def write_junit(outcome: Outcome, path: Path) -> None:
    """Write JUnit XML into a file, whole or not at all.

    Raises:
        StorageError: the file system refused.
    """
    with replacing(path, "the verdicts as JUnit XML") as temporary:
        temporary.write_text(junit(outcome), encoding="utf-8", newline="\n")


def xml_text(text: str) -> str:
    r"""Show characters that XML cannot hold by their number.

    >>> xml_text("a\x00b")
    'a\\x00b'
    """
    return _NOT_XML.sub(lambda found: f"\\x{ord(found[0]):02x}", text)


def _case(row: Row) -> ElementTree.Element:
    place = ".".join(part for part in (row.dataset, row.system) if part) or "run"
    case = ElementTree.Element("testcase", classname=xml_text(place), name=xml_text(row.what))
    told = xml_text(sentence(row))
    if row.verdict is Verdict.FAIL:
        ElementTree.SubElement(case, "failure", message=xml_text(row.reason), type="regression").text = told
    elif row.verdict is Verdict.WARN:
        ElementTree.SubElement(case, "system-out").text = f"WARN {told}"
    return case
