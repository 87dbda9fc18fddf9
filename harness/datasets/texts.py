"""Read a folder of .txt and .md files as a set without queries: each file is one passage."""

from __future__ import annotations

import io
import os
import re
from pathlib import Path
from typing import Any, NamedTuple
from urllib.parse import quote

from harness.datasets import blanks, checks, paths
from harness.datasets.settings import DatasetSettings
from harness.datasets.stored import gather
from harness.errors import DataError
from harness.types import Dataset, Passage, Split

SUFFIXES = (".txt", ".md")
_KIND = f"a folder of {' and '.join(SUFFIXES)} files"


class Found(NamedTuple):
    """What is in a folder and the folders below it: texts in the order of their paths, links, other files."""

    texts: list[Path]
    links: int
    others: int


def load(given: str, settings: DatasetSettings) -> Dataset:
    """Read every text in the folder `given` and below it, in the order of their paths; the name is the folder's.

    A passage's docid is the file's path below the folder; its title is the first heading of a .md file, else the name
    of the file. Hidden files and folders are passed over; links are too, so that nothing outside is read and no circle
    is followed.

    Raises:
        DataError: no such folder, no text in it, or a file that is not UTF-8; names the file and the line.
    """
    folder = paths.find(given)
    checks.folder(folder, _KIND)
    found = texts_below(folder)
    if not found.texts:
        got = f"none, and {found.others} other files" if found.others else "none"
        raise DataError(f"at least one {' or '.join(SUFFIXES)} file", got, "give another folder", file=folder)
    corpus = gather(_passage(file, folder) for file in found.texts)
    name = paths.readable(folder.resolve().name) or "texts"
    card = _card(name, [*_passed_over(found), *blanks.counted(corpus)])
    return Dataset(name, corpus, Split("train"), Split("dev"), Split("test"), card=card)


def texts_below(folder: Path) -> Found:
    """List the texts in a folder and below it.

    Raises:
        DataError: a folder may not be read.
    """
    texts, links, others = [], 0, 0
    for here, folders, files in os.walk(folder, onerror=_refuse):
        seen = [Path(here, name) for name in files if not name.startswith(".")]
        links += sum(path.is_symlink() for path in seen)
        links += sum(Path(here, name).is_symlink() for name in folders if not name.startswith("."))
        folders[:] = [name for name in folders if not name.startswith(".")]
        own = [path for path in seen if not path.is_symlink()]
        # A pipe would be waited for until somebody writes into it.
        texts += (chosen := [path for path in own if path.suffix.lower() in SUFFIXES and path.is_file()])
        others += len(own) - len(chosen)
    return Found(sorted(texts, key=lambda path: path.relative_to(folder).as_posix()), links, others)


def docid_of(name: str) -> str:
    """Return the docid of a file: its path with white space, "%" and what cannot be printed percent-encoded.

    >>> docid_of("My notes/50% off.md")
    'My%20notes/50%25%20off.md'
    """
    return "".join(c if c.isprintable() and c not in " %" else quote(c, errors="surrogateescape") for c in name)


def heading(text: str) -> str:
    """Return the first heading of a Markdown text, white space squeezed; empty where there is none.

    >>> heading("```\\n# a comment\\n```\\n\\n## The   title ##\\n\\nText")
    'The title'
    >>> heading("The title\\n=========")
    'The title'
    """
    fence, before = "", ""
    for line in io.StringIO(text):
        bare = line.strip()
        if fence:
            # Only as many of the same signs end a block of code.
            fence = "" if bare.startswith(fence) and not bare.strip(fence[0]) else fence
        elif opening := re.match("`{3,}|~{3,}", bare):
            fence, before = opening[0], ""
        elif title := _marked(line):
            return " ".join(title.split())
        elif before and not bare.strip("=") and bare:
            return " ".join(before.split())
        else:
            before = bare
    return ""


def _marked(line: str) -> str:
    """Return the title of a line such as "## Title ##"; empty where it is none."""
    bare = line.strip()
    inner = bare.lstrip("#")
    if line.expandtabs(4).startswith("    ") or not 1 <= len(bare) - len(inner) <= 6 or not inner[:1].isspace():
        return ""
    closed = inner.rstrip("#")
    return closed if closed[-1:].isspace() else inner


def _passage(file: Path, folder: Path) -> Passage:
    docid = docid_of(file.relative_to(folder).as_posix())
    if file.lstat().st_size > checks.LONGEST_BYTES:
        expected = f"texts of at most {checks.LONGEST_BYTES:,} bytes"
        raise DataError(expected, "a longer one", "cut it into files of their own", file=file)
    text = "".join(line for _, line in checks.decoded(file)).replace("\r\n", "\n").strip()
    title = heading(text) if file.suffix.lower() == ".md" else ""
    return Passage(docid, title or _stem(file), text, docid)


def _stem(file: Path) -> str:
    # A name may hold bytes that are no UTF-8.
    return " ".join(os.fsencode(file.stem).decode("utf-8", "replace").split())


def _refuse(error: OSError) -> None:
    got = error.strerror or str(error)
    raise DataError("a folder that can be read", got, "correct its permissions", file=error.filename) from error


def _passed_over(found: Found) -> list[str]:
    counted = ((found.links, "link"), (found.others, "other file"))
    parts = [f"{n} {what}{'s' * (n > 1)}" for n, what in counted if n]
    return [f"passed over: {' and '.join(parts)}"] if parts else []


def _card(name: str, said: list[str]) -> dict[str, Any]:
    return {
        "source": f"the {' and '.join(SUFFIXES)} files in the folder {name} and below it",
        "licence": "not part of the files; see where they come from",
        "description": f"{name}, {_KIND} without queries",
        "protocol": {"split_rule": "no queries", "judgements": "none"},
        "notes": said,
    }
