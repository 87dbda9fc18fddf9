"""Texts are shown, never run or read as a format: on a terminal, in lines, in the report and in its tables."""

from __future__ import annotations

import csv
import io
import json
import re
from collections.abc import Iterator, Sequence
from itertools import pairwise
from pathlib import Path

import pytest
from markdown_it import MarkdownIt
from markdown_it.token import Token
from rich.console import Console

from harness import cli, display, printable
from harness.console_search import Answer, Question
from harness.datasets import DatasetSettings, finishing, inspect
from harness.errors import LONGEST_PART, ConfigError, DataError, HarnessError
from harness.finished import Cell
from harness.listing import Listing
from harness.store import RunFolder
from harness.types import Hit, Passage
from reports import html, markup
from reports.build import build
from reports.markup import Line, Table
from tests.unit.datasets import samples
from tests.unit.reports import sample_run

TEXTS = (
    "{0.__class__}",
    "{}",
    "%s %(name)s %n",
    "{{7*7}}",
    "{% raw %}",
    "${HOME} `id` $(id)",
    "<script>alert(1)</script>",
    "<!-- x -->",
    "&lt;b&gt;",
    "[bold]x[/bold]",
    "[/]",
    "[link=file:///etc/passwd]x[/link]",
    ":boom:",
    "=cmd|' /C calc'!A0",
    "@SUM(1)",
    "+1 x",
    "- x",
    "1. x",
    "---",
    "===",
    "# x",
    "> x",
    "| a | b |",
    "![x](http://localhost/x.png)",
    "[x](javascript:alert(1))",
    "<http://localhost/>",
    "***x***",
    "~~~",
    "\\input{/etc/passwd}",
    "\\\\ $x$ ^ _ & % # ~",
)
COMMANDS = ("\x1b[31mred", "\x1b]0;title\x07", "\x9b2J", "a\rb", "a\x08b", "\u202egnp.exe")
"""Texts that a terminal obeys."""


def hits() -> tuple[Hit, ...]:
    texts = (*TEXTS, *COMMANDS)
    return tuple(Hit(f"d{n}", 1.0, "" if n % 2 else text, text) for n, text in enumerate(texts)) + tuple(
        Hit(text, 0.5) for text in texts
    )


def obeyed(text: str) -> list[str]:
    """Return the characters that a terminal would obey."""
    return re.findall(r"[\x00-\x09\x0b-\x1f\x7f-\x9f\u202a-\u202e\u2066-\u2069]", text)


@pytest.fixture
def asked(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """Let `harness search` find hostile passages, without a run."""
    question = Question("who?", RunFolder(tmp_path), COMMANDS[0], (), (COMMANDS[1],))
    answers = [Answer("[red]bm25", hits(), 1.0), Answer("x\x1b[0m", problem=f"cannot {COMMANDS[0]} {TEXTS[0]}")]

    def found(self: Question, k: int) -> Iterator[Answer]:
        return iter(answers)

    monkeypatch.setattr(Question, "of", classmethod(lambda *_: question))
    monkeypatch.setattr(Question, "answers", found)


def test_search_prints_lines_as_they_are(asked: None, capsys: pytest.CaptureFixture[str]) -> None:
    assert cli.main(["search", "run", "who?"]) == 0
    out, err = capsys.readouterr()
    assert obeyed(out + err) == []
    for text in TEXTS:
        assert f"  {text}: {text}\n" in out or f": {text}\n" in out
        assert f"  {text}: \n" in out
    assert "\\x1b[31mred asked of" not in out
    assert "of \\x1b[31mred;" in out


def test_search_draws_boxes_of_texts_as_they_are(
    asked: None, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    drawn = io.StringIO()
    console = Console(file=drawn, force_terminal=True, color_system=None, width=400)
    monkeypatch.setattr(cli, "terminal", lambda: console)
    monkeypatch.setattr(console, "status", lambda text: console)
    assert cli.main(["search", "run", "who?"]) == 0
    out = drawn.getvalue()
    assert obeyed(out) == []
    assert "[red]bm25 — 1.0 ms" in out
    for text in TEXTS:
        assert f": {text} " in out


def test_a_table_of_texts_on_a_terminal() -> None:
    drawn = io.StringIO()
    listing = Listing(("name", "what"), [(text, text) for text in (*TEXTS, *COMMANDS)])
    Console(file=drawn, force_terminal=True, color_system=None, width=400).print(listing.rich())
    for out in (drawn.getvalue(), "\n".join(listing.plain())):
        assert obeyed(out) == []
        assert all(len(re.findall(re.escape(text), out)) >= 2 for text in TEXTS)


def test_a_run_is_shown_without_obeying_it(tmp_path: Path) -> None:
    cells = [Cell(COMMANDS[0], "[red]x", "bm25", "sparse", 0, tmp_path, "") for _ in range(2)]
    drawn = io.StringIO()
    console = Console(file=drawn, force_terminal=True, color_system=None, width=200)
    failed = {"state": "failed", "reason": f"{COMMANDS[0]} {{0}} [bold]", "phase": "x"}
    with display.LiveDisplay(console) as live:
        live.planned(cells)
        live.started(cells[0])
        console.print(live._now())
        live.finished(cells[0], failed, None, False)
    text = re.sub(r"\x1b\[(\?25[lh]|\d*[AGK])", "", drawn.getvalue()).replace("\r", "")
    assert obeyed(text) == []
    assert "failed: \\x1b[31mred {0} [bold] (in x)" in text


def test_a_look_at_a_set_keeps_to_its_lines() -> None:
    texts = (*TEXTS, *COMMANDS)
    passages = [Passage(f"d\x1b[{n}m", text, f"{text} and more", f"d\x1b[{n}m") for n, text in enumerate(texts)]
    for begin in range(0, len(texts), inspect.EXAMPLES):
        made = samples.dataset(
            passages[begin:], test={"q\x1b[31m": {passages[begin].docid: 1}}, texts={"q\x1b[31m": texts[begin]}
        )
        shown = list(inspect.rows(inspect.examine(finishing.finish(made, DatasetSettings()))))
        assert [pair for pair in shown if obeyed("".join(pair)) or "\n" in "".join(pair)] == []
        if texts[begin] in TEXTS:
            assert any(f"[{texts[begin]}] {texts[begin]} and more" in figure for _, figure in shown)


@pytest.mark.parametrize("text", [*TEXTS, *COMMANDS])
def test_a_message_is_text(text: str, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> None:
    def fails(*_: object) -> None:
        raise DataError(text, f"got {text}", text, file=Path("a") / text.replace("/", ":"), line=3)

    monkeypatch.setattr(Question, "of", fails)
    assert cli.main(["search", "run", "who?"]) == cli.REFUSED
    out, err = capsys.readouterr()
    assert out == ""
    assert obeyed(err) == []
    assert f"expected {printable.printable(text)}\n     got got {printable.printable(text)}\n" in err


def test_a_message_has_an_end() -> None:
    error: HarnessError = DataError("x" * 10**7, "y" * 10**7, "z" * 10**7, file="f" * 10**6)
    assert len(str(error)) < 5 * LONGEST_PART
    assert "… (10,000,000 characters)" in str(error)
    assert str(ConfigError("a", "b", "c")) == "expected a\n     got b\n      do c"


@pytest.fixture(scope="module")
def report(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A report of a run in which every text that somebody else may write is hostile."""
    texts = [*TEXTS, *COMMANDS]
    folder = tmp_path_factory.mktemp("runs") / "hostile"
    sample_run.write_sample(folder, quality={"bm25": 0.4, "oracle": 1.0}, failed={"dsi": " ".join(texts)}, queries=20)
    record = json.loads((folder / "experiment.json").read_text())
    record |= {"title": TEXTS[0], "description": TEXTS[3], "notes": texts, "command": ["harness", *texts]}
    record["config"] = {"texts": texts}
    for card in record["datasets"].values():
        card |= {"source": texts[6], "licence": texts[7], "notes": texts}
        card["protocol"] = {f"key {n}": text for n, text in enumerate(texts)}
    (folder / "experiment.json").write_text(json.dumps(record))
    return build(folder).parent


def test_the_markdown_report_shows_texts_as_they_are(report: Path) -> None:
    text = (report / "report.md").read_text("utf-8")
    assert obeyed(text) == []
    tokens = MarkdownIt("commonmark").enable("table").parse(text)
    inline = [child for token in tokens for child in (token.children or [])]
    assert {child.content for child in inline if child.type == "html_inline"} <= {"<br>", "<sub>", "</sub>"}
    assert [token.content for token in tokens if token.type == "html_block"] == []
    links = [str(child.attrs["href"]) for child in inline if child.type == "link_open"]
    assert all(link.startswith("../") for link in links)
    images = [str(child.attrs["src"]) for child in inline if child.type == "image"]
    assert all(image.startswith("figures/") for image in images)
    items = [line(token.children) for before, token in pairwise(tokens) if before.type == "paragraph_open"]
    for written in TEXTS:
        shown = " ".join(written.split())
        # As a note of the run and as one of the dataset.
        assert items.count(shown) >= 2, shown
    code = "".join(token.content for token in tokens if token.type == "fence")
    assert all(text in code for text in ("{{7*7}}", "<script>alert(1)</script>", "[bold]x[/bold]"))


def line(children: Sequence[Token] | None) -> str:
    """Return what a reader of a line of Markdown reads."""
    return "".join(child.content for child in children or [] if child.type in ("text", "code_inline"))


def test_the_tables_hold_texts_that_nothing_runs(report: Path) -> None:
    written = sorted((report / "tables").iterdir())
    assert {path.suffix for path in written} == {".md", ".tex", ".csv"}
    for path in written:
        text = path.read_text("utf-8")
        assert obeyed(text) == []
        assert "\\input" not in text
        if path.suffix == ".csv":
            cells = [cell for row in csv.reader(io.StringIO(text)) for cell in row]
            assert [cell for cell in cells if cell.lstrip()[:1] in ("=", "@") and cell] == []


@pytest.mark.parametrize("text", TEXTS)
def test_markdown_comes_back_as_the_text(text: str) -> None:
    (_, token, *_), written = MarkdownIt("commonmark").parse(markup.md(text)), " ".join(text.split())
    assert (token.type, line(token.children)) == ("inline", written)
    item = MarkdownIt("commonmark").parse(f"- {markup.md(text)}\n- next")
    assert [line(token.children) for token in item if token.type == "inline"] == [written, "next"]
    table = Table("t", text, ("A", text), (Line(text, (markup.Cell(text), markup.Cell(text, text))),), (text,))
    tokens = MarkdownIt("commonmark").enable("table").parse(markup.to_md(table))
    cells = [line(token.children) for token in tokens if token.type == "inline"]
    assert cells == [text, "Family", "A", text, text, text, text + text, text]


def test_a_spreadsheet_runs_nothing() -> None:
    starts = ["=1", "+1", "-1", "@x", " =1", "\t=1", "\r=1", "\n=1", "＝1", "＠x", "\x00=1", "\x9b=1"]
    table = Table("t", "", ("A",), tuple(Line("", (markup.Cell(start),)) for start in starts))
    _, *rows = csv.reader(io.StringIO(markup.to_csv(table)))
    assert [row[1][0] for row in rows] == ["'"] * len(starts)
    assert obeyed(markup.to_csv(table)) == []


def test_latex_reads_no_file() -> None:
    assert markup.tex("\\input{/etc/passwd}") == "\\textbackslash{}input\\{/etc/passwd\\}"
    assert markup.tex("\\write18{id}\x1b[2J") == "\\textbackslash{}write18\\{id\\} {[}2J"


def test_code_in_the_report_cannot_leave_its_fence() -> None:
    assert html._fence("````\n\x1b[31m") == "`````\n````\n\\x1b[31m\n`````"
