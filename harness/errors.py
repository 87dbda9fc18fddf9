"""Every error a user can meet, in one tree.

    HarnessError                    exit code 2, printed without a traceback
    ├── ConfigError                 an experiment, a system's settings, a command-line value
    ├── UnknownNameError            a system, dataset, experiment or measure nobody registered
    ├── DataError                   a corpus, queries, qrels or run file, with file and line
    │   └── OfflineError            the data or the weights need a network that is not there
    ├── RunFolderError              a run folder is absent, incomplete or of another version
    ├── StorageError                the disk is full or may not be written
    ├── DependencyError             a package is missing, with the command that installs it
    └── CellError                   one cell of an experiment failed; the others go on

Each message says what was expected, what came and what to do.
"""

from __future__ import annotations

import difflib
from collections.abc import Iterable
from pathlib import Path

from harness.printable import printable, shortened

LONGEST_PART = 3_000
"""Characters of each part of a message that are shown; an id or a line of a file may have millions."""


class HarnessError(Exception):
    """Base of every error the command line turns into one message and exit code 2."""

    def __init__(self, expected: str, got: str, fix: str) -> None:
        super().__init__(expected, got, fix)
        self.expected = expected
        self.got = got
        self.fix = fix

    def __str__(self) -> str:
        expected, got, fix = (_shown(part) for part in (self.expected, self.got, self.fix))
        return f"expected {expected}\n     got {got}\n      do {fix}"


class ConfigError(HarnessError):
    """Settings that cannot be used."""


class UnknownNameError(ConfigError):
    """A name nobody registered; the message suggests near ones.

    >>> print(UnknownNameError.of("system", "bm52", ["bm25", "dense"]))
    expected a known system
         got 'bm52'
          do use 'bm25'; known: bm25, dense
    """

    @classmethod
    def of(cls, kind: str, name: str, known: Iterable[str]) -> UnknownNameError:
        """Build the error for a `name` of a `kind` ("system", "dataset", …) among the `known` ones."""
        names = sorted(known)
        near = difflib.get_close_matches(name, names, n=3, cutoff=0.5)
        hint = f"use {' or '.join(repr(n) for n in near)}; " if near else ""
        return cls(f"a known {kind}", repr(name), f"{hint}known: {', '.join(names) or 'none'}")


class DataError(HarnessError):
    """A data file that cannot be used; names the file and, where there is one, the line."""

    def __init__(
        self, expected: str, got: str, fix: str, *, file: Path | str | None = None, line: int | None = None
    ) -> None:
        super().__init__(expected, got, fix)
        self.file = None if file is None else Path(file)
        self.line = line

    def __str__(self) -> str:
        if self.file is None:
            return super().__str__()
        place = f":{self.line}" if self.line is not None else ""
        return f"{_shown(str(self.file))}{place}\n{super().__str__()}"


class OfflineError(DataError):
    """Data or weights live on a hub that cannot be reached."""


class RunFolderError(HarnessError):
    """A run folder that cannot be read or continued."""


class StorageError(HarnessError):
    """The file system refused a write."""


class DependencyError(HarnessError):
    """A package is not installed."""


class CellError(HarnessError):
    """One cell (dataset x system x seed) failed."""


def _shown(part: str) -> str:
    return printable(shortened(part, LONGEST_PART))
