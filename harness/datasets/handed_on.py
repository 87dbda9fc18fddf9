"""What card.json beside a corpus says: where a folder that this program wrote comes from, and what was done to it."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any, NamedTuple

from harness.datasets import checks
from harness.datasets.files import File, Plain
from harness.errors import DataError

_FILE = "card.json"
_LARGEST_BYTES = 2**20
_SAID = ("source", "licence", "description", "checksum")


class Told(NamedTuple):
    """What the card of the dataset that is read takes over; all empty where there is no card.json of ours."""

    source: str
    card: Mapping[str, str]
    protocol: Mapping[str, str]


_NOTHING = Told("", {}, {})


def read(corpus: File) -> Told:
    """Read the card.json beside a corpus file in a plain folder.

    The folder may have been changed since, so that its protocol is told as what that file says. One that somebody else
    wrote is not read: the data can be used without.
    """
    if not isinstance(corpus, Plain):
        return _NOTHING
    path = corpus.path.parent / _FILE
    try:
        if path.stat().st_size > _LARGEST_BYTES:
            return _NOTHING
        card = json.loads("\n".join(text for _, text in checks.lines(path)))
        said = _texts({key: card[key] for key in _SAID}, path)
        protocol = _texts(card["protocol"], path)
    except (OSError, DataError, ValueError, KeyError, TypeError, RecursionError):
        return _NOTHING
    done = "; ".join(f"{key}: {text}" for key, text in protocol.items())
    before = f"{_FILE} says of the data with the checksum {said['checksum']}: {done}"
    taken = {key: said[key] for key in ("licence", "description")}
    return Told(f"; {_FILE} says: {said['source']}", taken, {"before": before})


def _texts(found: Any, path: Path) -> dict[str, str]:
    """Return a table of texts; DataError or TypeError for anything else."""
    if not isinstance(found, dict):
        raise TypeError("not a table")
    place = checks.Place(path, 1)
    return {checks.clean(key, "a key", place): checks.string(found, key, place) for key in found}
