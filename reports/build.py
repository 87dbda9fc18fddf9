"""Build the report of a run folder: all of it beside the earlier one, then in its place."""

from __future__ import annotations

import shutil
from pathlib import Path

from harness.errors import StorageError
from harness.store import RunFolder
from reports import figures, html, markup, summary, tables
from reports.load import Report, load

NEW, OLD = ".report.new", ".report.old"


def build(folder: Path) -> Path:
    """Write report/ (index.html, report.md, tables/, figures/) and return the path of index.html.

    The same run folder gives the same files, byte for byte. If anything fails, an earlier report stays as it was.

    Raises:
        RunFolderError: no run folder, another format, or files that are incomplete.
        StorageError: the file system refused.
    """
    report = load(folder)
    target = RunFolder(folder).report_folder
    new, old = target.with_name(NEW), target.with_name(OLD)
    try:
        _recover(target, new, old)
        new.mkdir()
        _write(report, new)
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


def _write(report: Report, folder: Path) -> None:
    for name in ("tables", "figures"):
        (folder / name).mkdir()
    sentences = summary.summary(report)
    chapters = []
    for section in report.sections:
        built = tables.tables(report, section)
        for table in built.values():
            for ending, write in markup.WRITERS.items():
                _text(folder / "tables" / f"{table.slug}.{ending}", write(table))
        drawings = figures.draw(report, section, folder / "figures")
        said = sentences[section.dataset], summary.fairness(section)
        chapters.append(html.Chapter(section, *said, built, drawings))
    _text(folder / "index.html", html.page(report, tuple(chapters)))
    _text(folder / "report.md", html.markdown(report, tuple(chapters)))


def _text(path: Path, text: str) -> None:
    path.write_text(text, encoding="utf-8", newline="\n")
