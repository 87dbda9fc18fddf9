"""Describe the machine and the software a result came from.

Names, users and paths of the machine are left out: a run folder is made to be shared.
"""

from __future__ import annotations

import hashlib
import os
import platform
import re
import subprocess
import sys
from collections.abc import Callable, Mapping
from datetime import UTC, datetime
from importlib import metadata, util
from pathlib import Path
from typing import Any

PACKAGES = (
    "self-retrieval-bench",
    "accelerate",
    "bm25s",
    "faiss-cpu",
    "gguf",
    "ir-measures",
    "numpy",
    "pyarrow",
    "pydantic",
    "PyStemmer",
    "pytrec-eval-terrier",
    "rank-bm25",
    "safetensors",
    "scipy",
    "sentence-transformers",
    "tokenizers",
    "torch",
    "transformers",
)

FINGERPRINTED = ("harness", "baselines", "selfretrieval")
"""Packages whose sources decide what a cell computes."""

NOT_FINGERPRINTED = (
    *(
        f"harness/{name}.py"
        for name in ("cli", "display", "pace", "listing", "doctor", "console_search", "finished", "beam_curve")
    ),
    *(
        f"harness/bench/{name}.py"
        for name in (
            "__init__",
            "decode",
            "exhaustive",
            "lines",
            "output",
            "pairs",
            "reference",
            "scale",
            "stages",
            "synthetic",
            "trie",
        )
    ),
    *(f"selfretrieval/{name}.py" for name in ("bench", "released", "scale")),
)
"""What only people see, and what only measures: a change there leaves finished cells as they are."""

_CPU_FLAGS = ("avx2", "avx512f", "avx512_bf16", "avx512_fp16", "amx_bf16", "amx_int8", "asimd", "sve")
_THREAD_VARIABLES = (
    "OMP_NUM_THREADS",
    "MKL_NUM_THREADS",
    "OPENBLAS_NUM_THREADS",
    "NUMEXPR_NUM_THREADS",
    "RAYON_NUM_THREADS",
    "TOKENIZERS_PARALLELISM",
    "CUDA_VISIBLE_DEVICES",
)


def _now() -> datetime:
    return datetime.now(UTC)


def describe(now: Callable[[], datetime] = _now) -> dict[str, Any]:
    """Describe this machine and what is installed on it, as JSON; what cannot be found out is absent.

    Nothing heavy is imported. Keys: time, python, implementation, platform, machine, cpu {model, flags,
    cores_physical, cores_logical, cores_usable}, memory_bytes, gpus, packages, threads, git {commit, dirty}.
    """
    import psutil

    found = {
        "time": now().isoformat(timespec="seconds"),
        "python": platform.python_version(),
        "implementation": platform.python_implementation(),
        "platform": f"{platform.system()} {platform.release()}",
        "machine": platform.machine(),
        "cpu": _cpu(),
        "memory_bytes": int(psutil.virtual_memory().total),
        "gpus": _gpus(),
        "packages": _versions(),
        "threads": _threads(),
        "git": _git(Path(__file__).resolve()),
    }
    return {key: value for key, value in found.items() if value not in (None, {}, [])}


def machine(environment: Mapping[str, Any]) -> dict[str, Any]:
    """Pick from what `describe` found that on which times and memory depend.

    >>> machine({"cpu": {"model": "A"}, "python": "3.11.9", "memory_bytes": 8})
    {'cpu': {'model': 'A'}, 'memory_bytes': 8}
    """
    return {name: environment[name] for name in ("cpu", "memory_bytes", "gpus") if name in environment}


def code_fingerprint() -> str:
    """Return the SHA-256 over the sources that decide a cell's results, wherever they are installed.

    Covers every .py file of `FINGERPRINTED` but those in `NOT_FINGERPRINTED`. Nothing is imported.
    """
    digest = hashlib.sha256()
    for package in FINGERPRINTED:
        spec = util.find_spec(package)
        for folder in [] if spec is None else sorted(spec.submodule_search_locations or []):
            for name, file in _sources(package, Path(folder)):
                # Line ends differ between checkouts of the same commit.
                source = file.read_bytes().replace(b"\r\n", b"\n")
                digest.update(f"{name}\0{len(source)}\0".encode() + source)
    return digest.hexdigest()


def _sources(package: str, folder: Path) -> list[tuple[str, Path]]:
    named = ((f"{package}/{file.relative_to(folder).as_posix()}", file) for file in folder.rglob("*.py"))
    return sorted((name, file) for name, file in named if name not in NOT_FINGERPRINTED)


def _cpu() -> dict[str, Any]:
    import psutil

    text = _read(Path("/proc/cpuinfo"))
    model = re.search(r"^model name\s*:\s*(.+)$", text, re.MULTILINE)
    flags = re.search(r"^(?:flags|Features)\s*:\s*(.+)$", text, re.MULTILINE)
    present = set(flags[1].split()) if flags else set()
    usable = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else None
    found = {
        "model": model[1].strip() if model else platform.processor() or None,
        "flags": [flag for flag in _CPU_FLAGS if flag in present],
        "cores_physical": psutil.cpu_count(logical=False),
        "cores_logical": psutil.cpu_count(logical=True),
        "cores_usable": usable,
    }
    return {key: value for key, value in found.items() if value is not None}


def _gpus() -> list[str]:
    # Asks the driver's own tool: importing torch only to name a GPU would cost seconds.
    lines = _output("nvidia-smi", "--query-gpu=name,memory.total,driver_version", "--format=csv,noheader")
    return [line.strip() for line in (lines or "").splitlines() if line.strip()]


def _versions() -> dict[str, str]:
    found = {}
    for name in PACKAGES:
        try:
            found[name] = metadata.version(name)
        except metadata.PackageNotFoundError:
            continue
    return found


def _threads() -> dict[str, str | int]:
    found: dict[str, str | int] = {name: os.environ[name] for name in _THREAD_VARIABLES if name in os.environ}
    torch = sys.modules.get("torch")
    if torch is not None:
        found |= {"torch": torch.get_num_threads(), "torch_interop": torch.get_num_interop_threads()}
    return found


def _git(source: Path) -> dict[str, str | bool]:
    # An installed copy may lie inside somebody else's repository: only where git tracks this very file is it ours.
    inside = ("git", "-C", str(source.parent))
    if _output(*inside, "ls-files", "--error-unmatch", source.name) is None:
        return {}
    commit = _output(*inside, "rev-parse", "HEAD")
    changes = _output(*inside, "status", "--porcelain", "--untracked-files=no")
    if commit is None or changes is None:
        return {}
    return {"commit": commit.strip(), "dirty": bool(changes.strip())}


def _output(*command: str) -> str | None:
    """Return what a command prints; None where it is missing, fails or takes longer than 10 s."""
    try:
        done = subprocess.run(command, capture_output=True, encoding="utf-8", errors="replace", timeout=10, check=True)
    except (OSError, subprocess.SubprocessError):
        return None
    return done.stdout


def _read(path: Path) -> str:
    try:
        return path.read_text(encoding="utf-8", errors="replace")
    except OSError:
        return ""
