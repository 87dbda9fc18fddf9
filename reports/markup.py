"""One table, written as Markdown, LaTeX (booktabs) and CSV; every text in it is untrusted and escaped."""

from __future__ import annotations

import csv
import io
import re
from collections.abc import Callable
from dataclasses import dataclass
from urllib.parse import quote

from reports.units import ABSENT, THIN


@dataclass(frozen=True)
class Cell:
    """One place of a table.

    text: what is read; small: a second, smaller line (an interval, a batch size); mark: a sign after the text.
    raw, low, high: the unrounded figures for CSV. span: how many columns it fills (a failed row's reason).
    link: folder that the figures come from, relative to where folders of cells begin.
    """

    text: str = ABSENT
    small: str = ""
    mark: str = ""
    bold: bool = False
    span: int = 1
    raw: float | None = None
    low: float | None = None
    high: float | None = None
    link: str = ""


@dataclass(frozen=True)
class Line:
    """One row: the family it is grouped under, its cells, and whether it is greyed or failed."""

    group: str
    cells: tuple[Cell, ...]
    muted: bool = False
    failed: bool = False


@dataclass(frozen=True)
class Table:
    """A table with its caption; `heads` names the columns.

    texts: how many leading columns hold texts; the others hold figures, aligned right.
    """

    slug: str
    caption: str
    heads: tuple[str, ...]
    lines: tuple[Line, ...]
    notes: tuple[str, ...] = ()
    texts: int = 1

    def groups(self) -> list[tuple[str, list[Line]]]:
        """Return (group, its lines) in order of first appearance."""
        found: dict[str, list[Line]] = {}
        for line in self.lines:
            found.setdefault(line.group, []).append(line)
        return list(found.items())


_CONTROL = re.compile(r"[\x00-\x1f\x7f-\x9f\u2028\u2029\u202a-\u202e\u2066-\u2069]+")
# What at the beginning of a line opens a list, or underlines the line above: nothing of it is escaped elsewhere.
_BLOCK = re.compile(r"^\s*(?:(?=[-+](?:\s|$)|[-=]+\s*$)|[0-9]{1,9}(?=[.)](?:\s|$)))")
_MD = {c: "\\" + c for c in "\\`*_{}[]#|~$"} | {"<": "&lt;", ">": "&gt;", "&": "&amp;"}
_TEX = {c: "\\" + c for c in "&%$#_{}"} | {
    "\\": r"\textbackslash{}",
    "~": r"\textasciitilde{}",
    "^": r"\textasciicircum{}",
    "<": r"\textless{}",
    ">": r"\textgreater{}",
    "|": r"\textbar{}",
    # A row that began with one of these would be read as an argument of the \\\\ before it.
    "[": "{[}",
    "]": "{]}",
    "*": "{*}",
    "–": "--",
    "−": r"\ensuremath{-}",
    "±": r"\ensuremath{\pm}",
    "×": r"\ensuremath{\times}",
    "▲": r"\ensuremath{\blacktriangle}",
    "▼": r"\ensuremath{\blacktriangledown}",
    "†": r"\ensuremath{\dagger}",
    "‡": r"\ensuremath{\ddagger}",
    "…": r"\dots{}",
    "≥": r"\ensuremath{\geq}",
    THIN: r"\,",
}


def md(text: object) -> str:
    """Escape a text so that Markdown (GitHub's too) shows it as it is, on one line.

    >>> md("a|b <i>")
    'a\\\\|b &lt;i&gt;'
    """
    escaped = "".join(_MD.get(c, c) for c in _CONTROL.sub(" ", str(text)))
    return _BLOCK.sub(r"\g<0>\\", escaped)


def tex(text: object) -> str:
    r"""Escape a text so that LaTeX prints it as it is.

    >>> tex("50% of_it")
    '50\\% of\\_it'
    """
    return "".join(_TEX.get(c, c) for c in _CONTROL.sub(" ", str(text)))


def to_md(table: Table, home: str | None = None) -> str:
    """Write a GitHub-flavoured Markdown table with its caption and notes.

    Args:
        table: what to write.
        home: leads from the page to where the folders of cells begin; without it nothing is linked.
    """
    heads = ("Family", *table.heads)
    rule = ["---"] * (1 + table.texts) + ["---:"] * (len(table.heads) - table.texts)
    lines = [_md_line([md(h) for h in heads]), _md_line(rule)]
    for line in table.lines:
        texts = [md(line.group)] + [_md_cell(c, home) for c in line.cells]
        lines.append(_md_line(texts + [""] * (len(heads) - len(texts))))
    parts = [f"**{md(table.caption)}**", "\n".join(lines), *(f"*{md(n)}*" for n in table.notes)]
    return "\n\n".join(parts) + "\n"


def _md_line(texts: list[str]) -> str:
    return "| " + " | ".join(texts) + " |"


def _md_cell(cell: Cell, home: str | None) -> str:
    text = md(cell.text)
    if home is not None and cell.link:
        text = f"[{text}]({quote(home + cell.link)}/)"
    text += f" {md(cell.mark)}" if cell.mark else ""
    text = f"**{text}**" if cell.bold else text
    return f"{text}<br><sub>{md(cell.small)}</sub>" if cell.small else text


def to_tex(table: Table) -> str:
    """Write a LaTeX table float; wide tables are scaled to the text width."""
    width = len(table.heads)
    wide = width > 6
    body = "\n".join(_tex_group(name, lines, width) for name, lines in table.groups())
    columns = "l" * table.texts + "r" * (width - table.texts)
    notes = "".join(f"\n\\par\\smallskip\\footnotesize {tex(n)}" for n in table.notes)
    return (
        "% Needs the packages booktabs, graphicx, xcolor and amssymb.\n"
        "\\begin{table}\n\\centering\n"
        f"\\caption{{{tex(table.caption)}}}\n\\label{{tab:{re.sub(r'[^A-Za-z0-9-]', '-', table.slug)}}}\n"
        + ("\\resizebox{\\textwidth}{!}{%\n" if wide else "")
        + f"\\begin{{tabular}}{{{columns}}}\n\\toprule\n"
        + " & ".join(tex(h) for h in table.heads)
        + f" \\\\\n\\midrule\n{body}\n\\bottomrule\n\\end{{tabular}}"
        + ("}" if wide else "")
        + f"{notes}\n\\end{{table}}\n"
    )


def _tex_group(name: str, lines: list[Line], width: int) -> str:
    rows = [f"\\multicolumn{{{width}}}{{l}}{{\\textit{{{tex(name)}}}}} \\\\"] if name else []
    for line in lines:
        rows.append(" & ".join(_tex_cell(c, line.muted) for c in line.cells) + " \\\\")
        if any(c.small for c in line.cells):
            rows.append(" & ".join(f"{{\\scriptsize {tex(c.small)}}}" for c in line.cells) + " \\\\")
    return "\n".join(rows)


def _tex_cell(cell: Cell, muted: bool) -> str:
    text = tex(cell.text) + (f"\\,{tex(cell.mark)}" if cell.mark else "")
    if cell.bold:
        text = f"\\textbf{{{text}}}"
    if muted:
        text = f"\\textcolor{{gray}}{{{text}}}"
    return f"\\multicolumn{{{cell.span}}}{{l}}{{{text}}}" if cell.span > 1 else text


def to_csv(table: Table) -> str:
    """Write unrounded figures, absent ones empty; intervals and marks in columns of their own."""
    width = len(table.heads)
    at = [[line.cells[i] for line in table.lines if i < len(line.cells)] for i in range(width)]
    intervals = [any(c.low is not None for c in cells) for cells in at]
    marks = [any(c.mark for c in cells) for cells in at]
    heads = ["group"]
    for head, interval, mark in zip(table.heads, intervals, marks, strict=True):
        extra = [f"{head} low", f"{head} high"] if interval else []
        heads += [head, *extra] + ([f"{head} mark"] if mark else [])
    sink = io.StringIO()
    writer = csv.writer(sink, lineterminator="\n")
    writer.writerow([*map(_csv_text, heads), "failed"])
    for line in table.lines:
        reason = line.cells[-1].text if line.failed else ""
        cells = line.cells[:-1] if line.failed else line.cells
        values = [_csv_text(line.group)]
        for i in range(width):
            cell = cells[i] if i < len(cells) else Cell()
            values += [_csv_value(cell), *([_figure(cell.low), _figure(cell.high)] if intervals[i] else [])]
            values += [cell.mark] if marks[i] else []
        writer.writerow([*values, _csv_text(reason)])
    return sink.getvalue()


def _csv_value(cell: Cell) -> str:
    if cell.raw is not None:
        return _figure(cell.raw)
    return "" if cell.text == ABSENT else _csv_text(cell.text)


def _figure(value: float | None) -> str:
    return "" if value is None else repr(value)


def _csv_text(text: str) -> str:
    """Keep spreadsheets from running a text as a formula, and terminals from obeying it."""
    text = _CONTROL.sub(" ", text)
    # Blanks in front are passed over by some; the wide signs are those of East Asian keyboards.
    return "'" + text if text.lstrip().startswith(tuple("=+-@＝＋－＠")) else text


WRITERS: dict[str, Callable[[Table], str]] = {"md": to_md, "tex": to_tex, "csv": to_csv}
"""File ending -> writer."""
