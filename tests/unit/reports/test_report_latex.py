"""The LaTeX of every table: its structure by hand, and by pdflatex or tectonic where one is installed."""

from __future__ import annotations

import re
import shutil
import subprocess
from functools import cache
from pathlib import Path

import pytest

from reports import tables
from reports.load import load
from reports.markup import Cell, Line, Table, tex, to_tex
from reports.paper import measured, published, redraw
from reports.paper.recipes import RECIPES
from tests.unit.paper.kept_cells import cell, hits, write
from tests.unit.reports.sample_run import write_sample

NEEDED = ("booktabs", "graphicx", "xcolor", "amssymb")
DOCUMENT = "\\documentclass{article}\n%s\\begin{document}\n%s\n\\end{document}\n"
HOSTILE = r"a & b % c $d$ #e _f {g} ~h ^i \j <k> [l] | * – − ± × ▲ ▼ † ‡ … ≥"


@pytest.fixture(scope="module")
def written(tmp_path_factory: pytest.TempPathFactory) -> dict[str, str]:
    """LaTeX of all tables of a report, and of the paper redrawn."""
    folder = tmp_path_factory.mktemp("latex")
    report = load(write_sample(folder / "standard", beams=(1, 10), answers=True))
    made = {name: to_tex(table) for name, table in tables.tables(report, report.sections[0]).items()}
    kept = write(folder / "kept.json", [cell("ablation", "without-titles", hits(0.5, 0.5, 0.5))])
    found, printed = measured.gather([kept], [folder / "standard"]), published.load()
    for recipe in RECIPES:
        if recipe.kind == "table":
            redraw.redraw(recipe, printed, found, folder)
            made[recipe.slug] = (folder / f"{recipe.slug}.tex").read_text(encoding="utf-8")
    table = Table(
        "hostile", HOSTILE, (HOSTILE, "b"), (Line(HOSTILE, (Cell(HOSTILE, small="[1]"), Cell("*"))),), (HOSTILE,)
    )
    return {**made, "hostile": to_tex(table)}


def test_environments_and_braces_are_balanced(written: dict[str, str]) -> None:
    assert len(written) >= 14
    for name, text in written.items():
        body = re.sub(r"\\[\\{}%]", "", text)
        assert body.count("{") == body.count("}"), name
        opened = re.findall(r"\\begin\{(\w+)\}", text)
        assert re.findall(r"\\end\{(\w+)\}", text) == opened[::-1], name


def test_every_row_has_as_many_cells_as_there_are_columns(written: dict[str, str]) -> None:
    for name, text in written.items():
        found = re.search(r"\\begin\{tabular\}\{([lr]+)\}", text)
        assert found is not None
        lines = text[found.end() : text.index("\\end{tabular}")].splitlines()
        rows = [line for line in lines if line.endswith(" \\\\")]
        assert len(rows) > 1
        for row in rows:
            spanned = sum(int(n) - 1 for n in re.findall(r"\\multicolumn\{(\d+)\}", row))
            ands = len(re.findall(r"(?<!\\)&", row))
            assert ands + 1 + spanned == len(found[1]), (name, row)


def test_signs_that_mean_something_are_escaped() -> None:
    text = tex(HOSTILE)
    for sign in "&%$#_{}":
        assert (
            re.search(
                rf"(?<!\\)\{sign}", re.sub(r"\\(text|ensuremath|blacktriangle|[a-z]+)*\{[^{}]*\}|\{.\}|\{\}", "", text)
            )
            is None
        )
    assert "\\textbackslash{}" in text and "\\textasciicircum{}" in text and "\\ensuremath{\\ddagger}" in text
    assert text.isascii()


@cache
def compiler() -> tuple[str, str]:
    """Return the compiler there is, and why there is none."""
    if shutil.which("tectonic"):
        return "tectonic", ""
    if not shutil.which("pdflatex"):
        return "", "neither pdflatex nor tectonic is installed"
    asked = [shutil.which("kpsewhich") or "kpsewhich", *(f"{name}.sty" for name in NEEDED)]
    found = subprocess.run(asked, capture_output=True, text=True, timeout=30, check=False).stdout.split()
    there = {Path(path).stem for path in found}
    missing = [name for name in NEEDED if name not in there]
    return ("", f"pdflatex is installed without {', '.join(missing)}") if missing else ("pdflatex", "")


@pytest.mark.slow
def test_every_table_compiles(written: dict[str, str], tmp_path: Path) -> None:
    program, why_not = compiler()
    if why_not:
        pytest.skip(why_not)
    packages = "".join(f"\\usepackage{{{name}}}\n" for name in NEEDED)
    (tmp_path / "all.tex").write_text(DOCUMENT % (packages, "\\clearpage\n".join(written.values())), encoding="utf-8")
    options = [] if program == "tectonic" else ["-interaction=nonstopmode", "-halt-on-error"]
    done = subprocess.run(
        [program, *options, "all.tex"], cwd=tmp_path, capture_output=True, text=True, timeout=120, check=False
    )
    assert done.returncode == 0, done.stdout[-3000:]
    assert (tmp_path / "all.pdf").stat().st_size > 10_000
