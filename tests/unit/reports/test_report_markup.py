"""Figures in words, and one table in three languages that a hostile text cannot break."""

from __future__ import annotations

import csv
import io
import re

import pytest

from reports import units
from reports.markup import Cell, Line, Table, md, tex, to_csv, to_md, to_tex

NASTY = "\\ a|b_c #d &e %f $g {h} ~i ^j <k> *l* [m] `n`\nsecond"


def table(*lines: Line) -> Table:
    return Table("t", "Caption with 50 % & more", ("System", "Hits@1", "Latency"), lines)


def tex_rows(text: str) -> list[str]:
    body = text.split("\\toprule", 1)[1].split("\\bottomrule", 1)[0]
    return [row for row in re.split(r"\\\\\n", body) if row.strip()]


def columns(row: str) -> int:
    spans = [int(n) for n in re.findall(r"\\multicolumn\{(\d+)\}", row)]
    return len(re.findall(r"(?<!\\)&", row)) + 1 - len(spans) + sum(spans)


def test_zero_and_absent_never_look_alike():
    for write in (units.count, units.milliseconds, units.seconds, units.size, units.score, units.p_value):
        assert write(None) == "–"
        assert write(0) != "–"


def test_markdown_escapes_every_special_character():
    escaped = md(NASTY)
    assert "\n" not in escaped
    assert "<k>" not in escaped
    assert "&lt;k&gt;" in escaped
    assert not re.search(r"(?<!\\)[|_#$~*`\[\]{}]", escaped)


def test_markdown_rows_have_equally_many_cells():
    row = Line("sparse", (Cell("a|b", mark="†"), Cell("0.5", "[0.4, 0.6]", bold=True), Cell()))
    failed = Line("dense", (Cell("x"), Cell("failed: <script> | no", span=2)), failed=True)
    lines = [line for line in to_md(table(row, failed)).splitlines() if line.startswith("|")]
    assert {len(re.findall(r"(?<!\\)\|", line)) for line in lines} == {5}
    assert "**0.5**<br><sub>" in lines[2]
    assert lines[1] == "| --- | --- | ---: | ---: |"


def test_latex_escapes_every_special_character():
    escaped = tex("a_b #c &d %e $f {g}")
    assert escaped == r"a\_b \#c \&d \%e \$f \{g\}"
    assert tex("\\~^<>|") == (r"\textbackslash{}\textasciitilde{}\textasciicircum{}\textless{}\textgreater{}\textbar{}")


def test_latex_rows_fill_all_columns_and_braces_balance():
    row = Line("sparse", (Cell(NASTY), Cell("0.5", "[0.4, 0.6]", "▲", bold=True), Cell("–")), muted=True)
    failed = Line("dense", (Cell("*x"), Cell("failed: 100 % of_it", span=2)), failed=True)
    text = to_tex(table(row, failed))
    rows = tex_rows(text.replace("\\midrule\n", ""))
    assert [columns(r) for r in rows] == [3] * 6
    bare = re.sub(r"\\[{}]", "", text)
    assert bare.count("{") == bare.count("}")
    assert "\\begin{tabular}{lrr}" in text
    assert text.count("\\begin{") == text.count("\\end{")


@pytest.mark.parametrize("start", ["[", "*"])
def test_latex_row_never_begins_with_what_its_line_break_would_swallow(start):
    text = to_tex(table(Line("", (Cell(start + "x"), Cell(), Cell()))))
    assert not re.search(rf"\\\\\s*{re.escape(start)}", text)


def test_csv_holds_unrounded_figures_and_empty_places():
    row = Line("sparse", (Cell("bm25"), Cell("0.333", "[..]", "▲", raw=1 / 3, low=0.25, high=0.5), Cell()))
    failed = Line("dense", (Cell("=1+1"), Cell('failed: "x", y', span=2)), failed=True)
    heads, first, second = csv.reader(io.StringIO(to_csv(table(row, failed))))
    assert heads == ["group", "System", "Hits@1", "Hits@1 low", "Hits@1 high", "Hits@1 mark", "Latency", "failed"]
    assert first == ["sparse", "bm25", repr(1 / 3), "0.25", "0.5", "▲", "", ""]
    assert second == ["dense", "'=1+1", "", "", "", "", "", 'failed: "x", y']
