"""Build the report of a run folder: all of it beside the earlier one, then in its place."""

from __future__ import annotations

import shutil
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import replace
from pathlib import Path

from harness.errors import StorageError
from harness.store import RunFolder
from reports import figures, growth, html, islands, markup, queries, summary, tables, together
from reports.islands import Island
from reports.load import Report, Section, load
from reports.markup import Table
from reports.queries import Ledger

NEW, OLD = ".{}.new", ".{}.old"
LIGHT_BYTES = 4_900_000
"""What a page may weigh; a tenth of a megabyte below 5 MB, for the words around what is weighed."""
PART_BYTES = 3_000
"""What the frame around one island weighs at most."""


def build(folder: Path) -> Path:
    """Write report/ (index.html, report.md, tables/, figures/) and return the path of index.html.

    The same run folder gives the same files, byte for byte. If anything fails, an earlier report stays as it was.

    Raises:
        RunFolderError: no run folder, another format, or files that are incomplete.
        DataError: a run file is damaged.
        StorageError: the file system refused.
    """
    report = load(folder)
    return publish(RunFolder(folder).report_folder, lambda new: write(report, new))


def publish(target: Path, write: Callable[[Path], None]) -> Path:
    """Let `write` fill a new folder, put it in the place of `target`, and return the path of its index.html.

    Raises:
        StorageError: the file system refused.
    """
    new, old = (target.with_name(name.format(target.name)) for name in (NEW, OLD))
    try:
        _recover(target, new, old)
        new.mkdir(parents=True)
        write(new)
        _swap(target, new, old)
    except OSError as error:
        reason = error.strerror or str(error)
        fix = "free some room or make the folder writable, then give the same command again"
        raise StorageError(f"to write the report to {target}", reason, fix) from error
    finally:
        shutil.rmtree(new, ignore_errors=True)
    return target / "index.html"


def _recover(target: Path, new: Path, old: Path) -> None:
    """Tidy up after a process that was stopped: its half report goes, the one it had moved away comes back."""
    if new.exists():
        shutil.rmtree(new)
    if old.exists() and not target.exists():
        old.rename(target)
    elif old.exists():
        shutil.rmtree(old)


def _swap(target: Path, new: Path, old: Path) -> None:
    if target.exists():
        target.rename(old)
    try:
        new.rename(target)
    except OSError:
        if old.exists():
            old.rename(target)
        raise
    shutil.rmtree(old, ignore_errors=True)


def write(report: Report, folder: Path, said: Mapping[str, tuple[str, ...]] | None = None) -> None:
    """Write every file of a report into a folder that is there and empty.

    said: dataset -> what to say of it first; None: the usual sentences.
    """
    for name in ("tables", "figures"):
        (folder / name).mkdir()
    sentences = summary.summary(report) if said is None else said
    chapters, ledgers = [], []
    for section in report.sections:
        ledger = queries.read(section)
        built = tables.tables(report, section) | _wins(section, ledger)
        _tables(built.values(), folder)
        drawings = figures.draw(report, section, folder / "figures")
        words = sentences[section.dataset], summary.fairness(section)
        chapters.append(html.Chapter(section, *words, built, drawings))
        ledgers.append(ledger)
    # Of several runs compared there is no average: each may lack systems or datasets of the others.
    whole = together.chapter(report, ledgers) if said is None else None
    across = html.Across(whole, growth.chapters(report, folder / "figures"))
    _tables((chapter.table for chapter in across.grown), folder)
    _tables(whole.tables.values() if whole else (), folder)
    _text(folder / "index.html", page(report, chapters, ledgers, across))
    _text(folder / "report.md", html.markdown(report, tuple(chapters), across))


def page(
    report: Report, chapters: Sequence[html.Chapter], ledgers: Sequence[Ledger | None], across: html.Across
) -> str:
    """Write the page with as much of the queries as it can carry."""
    bare = len(html.page(report, tuple(chapters), across).encode())
    held = [ledger for ledger in ledgers if ledger is not None]
    made = iter(islands.fit(held, LIGHT_BYTES - bare - PART_BYTES * len(held)))
    own: list[Island | None] = [None if ledger is None else next(made) for ledger in ledgers]
    full = tuple(replace(chapter, island=island) for chapter, island in zip(chapters, own, strict=True))
    return html.page(report, full, across)


def _wins(section: Section, ledger: Ledger | None) -> dict[str, Table]:
    table = None if ledger is None else queries.table(section, ledger)
    return {} if table is None else {"wins": table}


def _tables(built: Iterable[Table], folder: Path) -> None:
    for table in built:
        for ending, written in markup.WRITERS.items():
            _text(folder / "tables" / f"{table.slug}.{ending}", written(table))


def _text(path: Path, text: str) -> None:
    path.write_text(text, encoding="utf-8", newline="\n")
