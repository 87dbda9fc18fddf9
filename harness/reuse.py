"""Take over the index of an earlier cell where only how it is searched or measured has changed.

What a training cost is not paid again for another measure, another limit on the queries or, while settings are chosen
on dev queries, another beam. The figures of indexing stay those of the process that indexed.
"""

from __future__ import annotations

import os
import shutil
from pathlib import Path
from typing import cast

from harness.errors import RunFolderError, StorageError
from harness.plan import Spec
from harness.records import Indexed, Meter
from harness.store import CellFolder

_OF_INDEXING = {
    "index_s",
    "earlier_s",
    "save_s",
    "train_tokens",
    "tokens_per_s",
    "dev_score",
    "dev_tokens",
    "dev_s",
    "rss_base_bytes",
    "model_bytes",
    "gpu_peak_bytes",
}


def earlier_index(there: CellFolder, wanted: Spec) -> Indexed | None:
    """Tell by what the index in the folder of an earlier cell was made; None where `wanted` cannot take it over.

    Args:
        there: the folder of the earlier cell, if there is any.
        wanted: what the new cell is told.
    """
    try:
        status, told, meter = there.status(), there.spec(), there.meter()
    except RunFolderError:  # absent or damaged: it is made again
        return None
    # What failed may have failed for what is wrong with its index.
    if status is None or status["state"] != "done" or not wanted["index"] or told.get("index") != wanted["index"]:
        return None
    if not there.model.is_dir() or "index_s" not in meter:
        return None
    if "indexed" in status:
        return status["indexed"]
    found = Indexed(code=status["code"], ended=status["ended"])
    if "machine" in status:
        found["machine"] = status["machine"]
    return found


def take_over(there: CellFolder, folder: CellFolder, wanted: Spec) -> bool:
    """Put the index of an earlier cell, its training log and what indexing cost into the folder of a new one.

    Files are linked where the file system can, for a model may have gigabytes; nobody writes into them.

    Args:
        there: the folder of the earlier cell, of which `earlier_index` said that it can be taken over.
        folder: that of the new one.
        wanted: what the new cell is told.

    Returns:
        Whether the earlier cell had other settings, which are of its search: then the model stands in `earlier_model`,
        to be saved again with those of the new one.

    Raises:
        StorageError: the file system refused.
    """
    changed: bool = there.spec()["settings"] != wanted["settings"]
    earlier = there.meter()
    costs = {key: value for key, value in earlier.items() if key in _OF_INDEXING}
    if index_peak := earlier.get("rss_peak_bytes", {}).get("index"):
        costs["rss_peak_bytes"] = {"index": index_peak}
    try:
        shutil.copytree(there.model, folder.earlier_model if changed else folder.model, copy_function=_link)
        if (log := there.path / "training.jsonl").exists():
            _link(log, folder.path / log.name)
    except (OSError, shutil.Error) as error:
        fix = "free some room, or give the command again with --fresh"
        raise StorageError(f"to take over the index of {there.path}", str(error), fix) from error
    folder.write_meter(cast(Meter, {**costs, "threads": wanted["threads"]}))
    return changed


def _link(source: str | Path, target: str | Path) -> None:
    """Give a file a second name; copy it where the file system has no such names."""
    try:
        os.link(source, target)
    except OSError:
        shutil.copy2(source, target)
