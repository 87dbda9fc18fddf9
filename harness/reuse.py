"""Take over the index of an earlier cell where only how it is searched or measured has changed.

What a training cost is not paid again for another measure, another limit on the queries or, while settings are chosen
on dev queries, another beam. The figures of indexing stay those of the process that indexed.
"""

from __future__ import annotations

import os
import shutil
from collections.abc import Mapping
from pathlib import Path
from typing import Any, cast

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
}


def earlier_index(there: CellFolder, wanted: Spec, code: str, machine: Mapping[str, Any]) -> Indexed | None:
    """Tell when the index in the folder of an earlier cell was made; None where `wanted` cannot take it over.

    Half a system of other sources would be no system, and half the figures of another machine no figures.

    Args:
        there: the folder of the earlier cell, if there is any.
        wanted: what the new cell is told.
        code: SHA-256 of the sources that search.
        machine: what they run on, as in status.json.
    """
    try:
        status, told, meter = there.status(), there.spec(), there.meter()
    except RunFolderError:  # absent or damaged: it is made again
        return None
    if status is None or not wanted["index"] or told.get("index") != wanted["index"] or status["code"] != code:
        return None
    ran_on = status.get("machine", {})
    if any(ran_on.get(part) != machine.get(part) for part in ("cpu", "gpus")):
        return None
    # What failed may have failed for what is wrong with its index; but this one was searched before.
    indexed = status.get("indexed")
    if status["state"] != "done" and indexed is None:
        return None
    if not (there.model.is_dir() or there.earlier_model.is_dir()) or "index_s" not in meter:
        return None
    return indexed or Indexed(ended=status.get("ended", ""))


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
    # Where only `earlier_model` is there, saving it again failed.
    whole = there.model.is_dir()
    changed = not whole or there.spec()["settings"] != wanted["settings"]
    earlier = there.meter()
    costs: dict[str, Any] = {key: value for key, value in earlier.items() if key in _OF_INDEXING}
    if index_peak := earlier.get("rss_peak_bytes", {}).get("index"):
        costs["rss_peak_bytes"] = {"index": index_peak}
    try:
        model = there.model if whole else there.earlier_model
        shutil.copytree(model, folder.earlier_model if changed else folder.model, copy_function=_link)
        if (log := there.path / "training.jsonl").exists():
            shutil.copy2(log, folder.path / log.name)
    except (OSError, shutil.Error) as error:
        fix = "free some room, or give the command again with --fresh"
        raise StorageError(f"to take over the index of {there.path}", str(error), fix) from error
    if gpu_peak := earlier.get("gpu_peak_index_bytes"):
        costs["gpu_peak_bytes"] = costs["gpu_peak_index_bytes"] = gpu_peak
    folder.write_meter(cast(Meter, {**costs, "threads": wanted["threads"]}))
    return changed


def _link(source: str | Path, target: str | Path) -> None:
    """Give a file a second name; copy it where the file system has no such names."""
    try:
        os.link(source, target)
    except OSError:
        shutil.copy2(source, target)
