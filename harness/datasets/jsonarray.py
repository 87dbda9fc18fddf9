"""Read a file that holds one JSON array, element by element, so that the whole is never in memory."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any, BinaryIO

from harness.datasets.checks import Place
from harness.datasets.files import opened
from harness.errors import DataError

_READ_BYTES = 2**20
_LONGEST = 2**26
"""Characters of one element at most; more means that the file is not what it should be."""
_MARGIN = 16
"""An error this near to the end of what was read may be an element that goes on: no word or escape is longer."""
_BLANK = " \t\n\r"
_BLANKS = re.compile(f"[{_BLANK}]*")


def items(path: Path) -> Iterator[tuple[Place, Any]]:
    """Yield the elements of a file that holds one JSON array in UTF-8, each with the line it begins in.

    Raises:
        DataError: the file is missing or unreadable, not UTF-8, or no JSON array.
    """
    try:
        with opened(path) as file:
            yield from _Reader(path, file).elements()
    except OSError as error:
        got = "no such file" if isinstance(error, FileNotFoundError) else (error.strerror or str(error))
        raise DataError("a readable file", got, f"put {path.name} there, or give another folder", file=path) from error


class _Reader:
    """A window over the file: `text` is what was read last, consumed up to `at`, which lies in line `line`.

    What was consumed is cut off only when more is read: small elements would else each copy the window.
    """

    def __init__(self, path: Path, file: BinaryIO) -> None:
        import codecs

        self.path, self.file, self.text, self.at, self.line, self.ended = path, file, "", 0, 1, False
        self.decode = codecs.getincrementaldecoder("utf-8-sig")().decode
        self.scan = json.JSONDecoder().raw_decode

    def elements(self) -> Iterator[tuple[Place, Any]]:
        self.expect("[", "one JSON array")
        if self.peek() == "]":
            self.consume(self.at + 1)
        else:
            while True:
                yield self.element()
                if self.expect(",]", "',' or ']' behind an element of the array") == "]":
                    break
        if self.peek():
            raise self.place.error("one JSON array", "more behind its end", "keep the array alone")

    @property
    def place(self) -> Place:
        return Place(self.path, self.line)

    def element(self) -> tuple[Place, Any]:
        self.peek()
        place, tried = self.place, 0
        while True:
            try:
                found, end = self.scan(self.text, self.at)
            except json.JSONDecodeError as error:
                cut = error.msg.startswith("Unterminated") or error.pos >= len(self.text) - _MARGIN
                if not cut or self.ended:
                    line = self.line + self.text.count("\n", self.at, error.pos)
                    fix = "get the file again: it is damaged or was cut off"
                    raise Place(self.path, line).error("one JSON array", error.msg, fix) from error
            except (ValueError, RecursionError) as error:
                raise place.error("one JSON array", f"JSON that cannot be read ({error})", "correct it") from error
            else:
                # A number near the end of what was read may go on: "1", "1.", "1.5e-".
                if self.ended or end + _MARGIN <= len(self.text) or self.text[end : end + 1] in tuple(_BLANK + ",]"):
                    self.consume(end)
                    return place, found
            if len(self.text) - self.at > _LONGEST:
                raise place.error(f"elements of at most {_LONGEST:,} characters", "a longer one", "check the file")
            tried = max(2 * tried, _READ_BYTES)  # doubling: a long element is scanned a few times only
            self.read(tried)

    def expect(self, wanted: str, what: str) -> str:
        found = self.peek()
        if not found or found not in wanted:
            got = repr(found) if found else "the end of the file"
            raise self.place.error(what, got, "get the file again: it is damaged or was cut off")
        self.consume(self.at + 1)
        return found

    def peek(self) -> str:
        """Return the next character that is not blank, "" at the end of the file."""
        while True:
            blanks = _BLANKS.match(self.text, self.at)
            self.consume(blanks.end() if blanks else self.at)
            if self.at < len(self.text) or self.ended:
                return self.text[self.at : self.at + 1]
            self.read(_READ_BYTES)

    def consume(self, end: int) -> None:
        self.line += self.text.count("\n", self.at, end)
        self.at = end

    def read(self, n: int) -> None:
        raw = self.file.read(n)
        self.ended = not raw
        self.text, self.at = self.text[self.at :], 0
        try:
            self.text += self.decode(raw, final=self.ended)
        except UnicodeDecodeError as error:
            line = self.line + self.text.count("\n") + raw.count(b"\n", 0, error.start)
            fix = "save the file as UTF-8"
            raise Place(self.path, line).error("a text file in UTF-8", f"other bytes ({error.reason})", fix) from error
