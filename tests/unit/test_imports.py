"""Who may import whom, read from the sources; and that the command line starts without the heavy packages."""

from __future__ import annotations

import ast
import json
import subprocess
import sys
from importlib import metadata
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
OURS = ("harness", "baselines", "selfretrieval", "reports")
ALLOWED = {
    "harness": ("harness",),
    "baselines": ("harness", "baselines"),
    "selfretrieval": ("harness", "selfretrieval"),
    "reports": (
        "harness.store",
        "harness.kept",
        "harness.types",
        "harness.errors",
        "harness.gate",
        "harness.atomic",
        "harness.launch",
        "harness.listing",
        "harness.terminal",
        "harness.significance",
        "harness.printable",
        "harness.datasets.stored",
        "reports",
    ),
}
ROOF = ("harness/cli.py", "reports/paper/commands.py")
"""The command line: may name all."""

HEAVY = {"torch", "faiss", "transformers", "sentence_transformers"}
LATE = HEAVY | {"matplotlib", "pyarrow", "pydantic", "scipy", "ir_measures", "bm25s", "numpy"}


def imported(source: str) -> set[str]:
    """List the dotted names a source imports, inside functions too; `from a import b` counts as a.b."""
    found: set[str] = set()
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, ast.Import):
            found |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, "relative imports hide who imports whom"
            found |= {f"{node.module}.{alias.name}" for alias in node.names}
    return found


def forbidden(package: str, names: set[str]) -> set[str]:
    """Pick those of our own modules a package may not import."""
    ours = {name for name in names if name.split(".")[0] in OURS}
    return {name for name in ours if not any(f"{name}.".startswith(f"{allowed}.") for allowed in ALLOWED[package])}


def modules() -> list[str]:
    paths = (path.relative_to(ROOT).as_posix() for package in OURS for path in (ROOT / package).rglob("*.py"))
    return sorted(path for path in paths if path not in ROOF)


@pytest.mark.parametrize("path", modules())
def test_arrows_point_one_way(path: str) -> None:
    package = Path(path).parts[0]
    assert forbidden(package, imported((ROOT / path).read_text(encoding="utf-8"))) == set()


def test_the_arrows_test_can_fail() -> None:
    source = "import harness.runner\ndef f():\n    from selfretrieval import score\nfrom harness import store, meter\n"
    names = imported(source)
    assert names == {"harness.runner", "selfretrieval.score", "harness.store", "harness.meter"}
    assert forbidden("harness", names) == {"selfretrieval.score"}
    assert forbidden("baselines", names) == {"selfretrieval.score"}
    assert forbidden("reports", names) == {"harness.runner", "selfretrieval.score", "harness.meter"}


def loaded_after(statement: str) -> set[str]:
    """Run a statement in a fresh interpreter and return the top-level modules it leaves loaded."""
    code = f"import sys, json\n{statement}\nprint(json.dumps(sorted({{m.split('.')[0] for m in sys.modules}})))"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True, timeout=60)
    return set(json.loads(done.stdout.splitlines()[-1]))


def test_command_line_starts_without_heavy_packages() -> None:
    loaded = loaded_after("import harness.cli")
    assert "typer" in loaded
    assert loaded & LATE == set()


@pytest.mark.parametrize("system", sorted(e.name for e in metadata.entry_points(group="harness.systems")))
def test_declaring_a_system_loads_no_model_library(system: str) -> None:
    loaded = loaded_after(f"from harness import registry\nregistry.get({system!r})")
    assert "pydantic" in loaded
    assert loaded & HEAVY == set()
