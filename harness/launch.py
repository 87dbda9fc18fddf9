"""Train on several GPUs: which command starts the processes of a cell's index, and what must be there for it.

The environment variable HARNESS_LAUNCH holds the beginning of a command, such as
`accelerate launch --config_file 8-gpus.yaml`, that starts a Python module in several processes. A cell's index is then
built in all of them, which share its training (`harness.lm.training`); the first alone tells, saves and measures.
"""

from __future__ import annotations

import importlib.util
import os
import shlex
import shutil
import sys
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path

from harness.errors import ConfigError

VARIABLE = "HARNESS_LAUNCH"
RANK, LOCAL_RANK = "RANK", "LOCAL_RANK"
"""Set by what starts several processes: number of this one, and its number on this machine."""


def command(task: str, folder: Path, environment: Mapping[str, str]) -> list[str]:
    """Return the command of a cell's process; only its index is built by several.

    >>> command("index", Path("cell"), {"HARNESS_LAUNCH": "accelerate launch"})
    ['accelerate', 'launch', '-m', 'harness.cell', 'index', 'cell']
    """
    start = (_launcher(environment) if task == "index" else []) or [sys.executable, "-P"]
    return [*start, "-m", "harness.cell", task, str(folder)]


def search_path(environment: Mapping[str, str]) -> str:
    """Return where programs are looked for: PATH, then beside this Python, whose environment need not be activated."""
    return os.pathsep.join(filter(None, [environment.get("PATH", ""), str(Path(sys.executable).parent)]))


def check(environment: Mapping[str, str]) -> None:
    """Refuse a launcher that cannot be started, before anything is run.

    Raises:
        ConfigError: the variable is no command, or names a program that is not here.
    """
    launcher = _launcher(environment)
    if launcher and shutil.which(launcher[0], path=search_path(environment)) is None:
        got = f"{launcher[0]!r}, which is neither on PATH nor beside {sys.executable}"
        raise ConfigError(f"a program in {VARIABLE}", got, "install it, or write its path")


def _launcher(environment: Mapping[str, str]) -> list[str]:
    given = environment.get(VARIABLE, "")
    try:
        return shlex.split(given)
    except ValueError as error:
        raise ConfigError(f"a command in {VARIABLE}", f"{given!r} ({error})", "close its quotes") from error


def follows(environment: Mapping[str, str]) -> bool:
    """Say whether this process only helps another one, which tells, saves and measures."""
    return environment.get(RANK, "0") != "0"


def claim_device(environment: Mapping[str, str]) -> None:
    """Let "cuda" mean the GPU of this process where several processes share a machine."""
    if LOCAL_RANK in environment:
        import torch

        if torch.cuda.is_available():
            torch.cuda.set_device(int(environment[LOCAL_RANK]))


def missing(datasets: Iterable[str], gpus: int) -> Iterator[str]:
    """Say what a run on so many GPUs lacks here: GPUs, packages, data sets.

    Args:
        datasets: names as `harness.datasets.load` takes them.
        gpus: how many are needed.
    """
    import torch

    there = torch.cuda.device_count()
    if there < gpus:
        yield f"{there} of {gpus} GPUs"
    if not importlib.util.find_spec("accelerate"):
        yield "no package accelerate"
    yield from (f"no data for {name}" for name in datasets if not _there(name))


def _there(name: str) -> bool:
    """Look for the folder of a data set; a KILT name may end in the name of a set inside it."""
    from harness.datasets import checks, paths, sources

    found = sources.of(name)
    given = found[1] if found else name
    return any(checks.exists(paths.find(place)) for place in (given, str(Path(given).parent)) if place != ".")


def environment(config: Path) -> dict[str, str]:
    """Return this process's environment with the launcher that uses a configuration of accelerate."""
    launcher = shlex.join(["accelerate", "launch", "--config_file", str(config)])
    return {**os.environ, VARIABLE: launcher}
