"""The report as a whole: complete, self-contained, the same each time, and never half written."""

from __future__ import annotations

import re
import shutil
from html.parser import HTMLParser
from pathlib import Path

import pytest

from harness.errors import RunFolderError, StorageError
from reports import build as module
from reports import html
from reports.build import build
from tests.unit.reports.sample_run import write_sample

VOID = {"meta", "link", "br", "img", "hr", "input"}
SLUG = "vital-articles-500"


class Outline(HTMLParser):
    """Checks that tags close in order; keeps ids, links and requests."""

    def __init__(self) -> None:
        super().__init__()
        self.open: list[str] = []
        self.ids: list[str] = []
        self.links: list[str] = []
        self.requests: list[str] = []
        self.tags: set[str] = set()
        self.scripts: list[str | None] = []

    def handle_starttag(self, tag, attrs):
        found = dict(attrs)
        self.tags.add(tag)
        if tag not in VOID:
            self.open.append(tag)
        self.ids += [found["id"]] if "id" in found else []
        self.scripts += [found.get("type")] if tag == "script" else []
        self.links += [found["href"]] if tag == "a" else []
        self.requests += [found["src"]] if "src" in found else []

    def handle_startendtag(self, tag, attrs):
        self.handle_starttag(tag, attrs)
        if tag not in VOID:
            self.open.pop()

    def handle_endtag(self, tag):
        assert self.open.pop() == tag


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    folder = write_sample(tmp_path_factory.mktemp("runs") / "sample")
    build(folder)
    return folder


@pytest.fixture(scope="module")
def page(folder):
    return (folder / "report" / "index.html").read_text(encoding="utf-8")


@pytest.fixture
def quick(monkeypatch):
    """Leave the figures out: they take most of the time and other tests look at them."""
    monkeypatch.setattr(module.figures, "draw", lambda *_: ())


def files(folder: Path) -> dict[str, bytes]:
    return {p.relative_to(folder).as_posix(): p.read_bytes() for p in sorted(folder.rglob("*")) if p.is_file()}


def test_report_is_complete(folder):
    kinds = ("quality", "cost", "slices", "wins", "significance", "significance-all")
    names = {f"tables/{kind}-{SLUG}.{ending}" for kind in kinds for ending in ("md", "tex", "csv")}
    drawings = ("latency", "latencies", "memory", "memory-bars", "hits", "training", "slices")
    names |= {f"figures/{kind}-{SLUG}.{ending}" for kind in drawings for ending in ("svg", "png", "pdf")}
    assert set(files(folder / "report")) == names | {"index.html", "report.md"}


def test_page_is_well_formed_and_asks_nothing_of_the_network(page):
    outline = Outline()
    outline.feed(page)
    assert outline.open == []
    assert outline.requests == []
    assert len(outline.ids) == len(set(outline.ids))
    assert not outline.tags & {"link", "iframe", "img", "object"}
    assert outline.scripts == ["application/json", None]
    assert "http" not in page.replace("http-equiv", "")
    assert not re.search(r"@import|url\((?!#)", page)
    assert page.count("<svg") == 7
    assert '<html lang="en">' in page
    assert "<title>Index or language model?" in page


def test_links_of_the_page_lead_somewhere(folder, page):
    outline = Outline()
    outline.feed(page)
    inside = [link[1:] for link in outline.links if link.startswith("#")]
    assert set(inside) <= set(outline.ids)
    outside = [link for link in outline.links if not link.startswith("#")]
    assert [link for link in outside if not (folder / "report" / link).exists()] == [
        "../vital-articles-500/dsi-title/0/cell.log"
    ]


def test_hostile_texts_are_shown_not_run(folder, page):
    assert "&lt;script&gt;alert(&#39;boom&#39;)&lt;/script&gt; | out of memory" in page
    assert "A &lt;small&gt; comparison &amp; nothing more." in page
    assert "Invented &lt;b&gt;articles" in page
    text = (folder / "report" / "report.md").read_text(encoding="utf-8")
    assert "<script" not in text
    assert "&lt;script&gt;alert('boom')&lt;/script&gt; \\| out of memory" in text


def test_page_says_what_was_run(page):
    for words in ("harness run default --set", "ab12cd34ef56", "9f" * 32, "CC BY-SA 4.0", "first 500 by hash"):
        assert words in page
    for words in ("Training budgets differ", "One seed (0)", "Without a result", "faiss-cpu"):
        assert words in page


def test_failed_system_stands_in_every_table_by_system(folder):
    for kind in ("quality", "cost", "slices"):
        text = (folder / "report" / "tables" / f"{kind}-{SLUG}.md").read_text(encoding="utf-8")
        (line,) = [line for line in text.splitlines() if "dsi-title" in line]
        assert "failed: during train" in line


def test_same_run_gives_the_same_bytes(folder, tmp_path):
    copy = tmp_path / "sample"
    shutil.copytree(folder, copy, ignore=shutil.ignore_patterns("report"))
    build(copy)
    first, second = files(folder / "report"), files(copy / "report")
    assert [name for name in first if first[name] != second[name]] == []


def test_failure_leaves_the_earlier_report(tmp_path, monkeypatch, quick):
    folder = write_sample(tmp_path / "run", slices=False, queries=10)
    index = build(folder)
    before = files(folder / "report")

    def full(*_):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(html, "markdown", full)
    with pytest.raises(StorageError, match="No space left"):
        build(folder)
    assert files(folder / "report") == before
    assert index.is_file()
    assert [p.name for p in folder.iterdir() if p.name.startswith(".report")] == []


def test_report_moved_away_by_a_stopped_process_comes_back(tmp_path, monkeypatch, quick):
    folder = write_sample(tmp_path / "run", slices=False, queries=10)
    build(folder)
    before = files(folder / "report")
    (folder / "report").rename(folder / module.OLD.format("report"))
    (folder / module.NEW.format("report")).mkdir()
    monkeypatch.setattr(module, "write", lambda *_: (_ for _ in ()).throw(OSError(28, "full")))
    with pytest.raises(StorageError):
        build(folder)
    assert files(folder / "report") == before


def test_new_report_replaces_the_old_one_whole(tmp_path, quick):
    folder = write_sample(tmp_path / "run", slices=False, queries=10)
    build(folder)
    (folder / "report" / "tables" / "left-over.md").write_text("old", encoding="utf-8")
    build(folder)
    assert not (folder / "report" / "tables" / "left-over.md").exists()


def test_several_datasets_and_seeds(tmp_path, quick):
    folder = write_sample(tmp_path / "run", datasets=("a/b", "c d"), seeds=(0, 1), slices=False, queries=10)
    text = build(folder).read_text(encoding="utf-8")
    assert 'id="d-a-b"' in text
    assert 'id="d-c-d"' in text
    assert "seeds 0, 1: during train" in text
    assert "One seed" not in text
    assert "±" in (folder / "report" / "tables" / "quality-a-b.md").read_text(encoding="utf-8")


def test_run_in_which_everything_failed_still_has_a_report(tmp_path):
    failed = {"bm25": "no memory", "self-retrieval": "no memory"}
    folder = write_sample(tmp_path / "run", quality={}, failed=failed)
    text = build(folder).read_text(encoding="utf-8")
    assert "No system has a score on vital-articles/500." in text
    assert "<svg" not in text


def test_folder_without_a_run(tmp_path):
    with pytest.raises(RunFolderError):
        build(tmp_path)
    assert list(tmp_path.iterdir()) == []
