"""Find the files of a published set in the reader's folder, or say what is missing and where it is published."""

from __future__ import annotations

from pathlib import Path

from harness.datasets import checks, paths
from harness.errors import DataError


def folder(given: str, layout: str) -> Path:
    """Return the folder `given`, as `paths.find` finds it; `layout` says in words what it must hold.

    Raises:
        DataError: there is nothing of that name, or a file.
    """
    path = paths.find(given)
    if not checks.exists(path):
        raise DataError(f"a folder with {layout}", "no such folder", "check the spelling of the path", file=path)
    if not path.is_dir():
        raise DataError(f"a folder with {layout}", "a file", f"give the folder, for example {path.parent}", file=path)
    return path


def file(folder: Path, name: str, where: str, *, packed: bool = False) -> Path:
    """Return the file `name` of a folder, also as `name`.gz where `packed`.

    Args:
        folder: where it is looked for.
        name: as its publishers call it.
        where: who publishes it, in words.
        packed: whether the file may be compressed by gzip.

    Raises:
        DataError: it is not there.
    """
    names = (name, f"{name}.gz") if packed else (name,)
    for path in (folder / each for each in names):
        if checks.exists(path):
            return path
    fix = f"get it from {where} and put it into this folder under that name"
    raise DataError(" or ".join(names), "no such file", fix, file=folder / name)
