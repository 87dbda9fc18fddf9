from __future__ import annotations

import importlib
import json
import shutil
import subprocess
import sys
from datetime import UTC, datetime
from pathlib import Path
from types import SimpleNamespace

import pytest

from harness import environment
from harness.environment import code_fingerprint, describe


def test_describe_is_json_with_what_matters() -> None:
    found = describe(now=lambda: datetime(2025, 1, 2, 3, 4, 5, tzinfo=UTC))
    assert json.loads(json.dumps(found, allow_nan=False)) == found
    assert found["time"] == "2025-01-02T03:04:05+00:00"
    assert found["python"] == ".".join(map(str, sys.version_info[:3]))
    assert found["memory_bytes"] > 10**8
    assert found["cpu"]["cores_logical"] >= 1
    assert {"numpy", "scipy", "ir-measures", "self-retrieval-bench"} <= found["packages"].keys()


def test_describe_tells_threads(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("OMP_NUM_THREADS", "3")
    torch = SimpleNamespace(get_num_threads=lambda: 2, get_num_interop_threads=lambda: 1)
    monkeypatch.setitem(sys.modules, "torch", torch)
    threads = describe()["threads"]
    assert (threads["OMP_NUM_THREADS"], threads["torch"], threads["torch_interop"]) == ("3", 2, 1)


def test_nothing_heavy_is_imported_to_describe() -> None:
    code = (
        "import sys; from harness.environment import *; describe(); code_fingerprint();"
        "heavy = ('torch', 'transformers', 'faiss', 'scipy', 'baselines', 'selfretrieval');"
        "print([m for m in heavy if m in sys.modules])"
    )
    assert subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout == "[]\n"


def test_without_git_and_other_tools_the_rest_is_still_told(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))
    found = describe()
    assert "git" not in found
    assert "gpus" not in found
    assert found["packages"]


def test_packages_that_are_not_installed_are_absent(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(environment, "PACKAGES", ("no-such-package-at-all",))
    assert "packages" not in describe()


@pytest.fixture
def repository(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    if shutil.which("git") is None:
        pytest.skip("git is not installed")
    for role in ("AUTHOR", "COMMITTER"):
        monkeypatch.setenv(f"GIT_{role}_NAME", "n")
        monkeypatch.setenv(f"GIT_{role}_EMAIL", "e@example.org")
    (tmp_path / "mine.py").write_text("one", encoding="utf-8")
    for command in ("init -q", "add mine.py", "commit -q -m first"):
        subprocess.run(["git", "-C", str(tmp_path), *command.split()], check=True)
    return tmp_path


def test_git_tells_commit_and_changes(repository: Path) -> None:
    source = repository / "mine.py"
    head = subprocess.run(
        ["git", "-C", str(repository), "rev-parse", "HEAD"], capture_output=True, text=True, check=True
    )
    assert environment._git(source) == {"commit": head.stdout.strip(), "dirty": False}
    source.write_text("two", encoding="utf-8")
    assert environment._git(source)["dirty"] is True


def test_somebody_elses_repository_is_not_ours(repository: Path) -> None:
    installed = repository / "site-packages" / "harness.py"
    installed.parent.mkdir()
    installed.write_text("", encoding="utf-8")
    assert environment._git(installed) == {}


@pytest.fixture
def package(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    root = tmp_path / "fingerprinted_package"
    (root / "inner").mkdir(parents=True)
    (root / "__init__.py").write_text("raise RuntimeError('imported')\n", encoding="utf-8")
    (root / "inner" / "code.py").write_text("x = 1\n", encoding="utf-8")
    (root / "cli.py").write_text("", encoding="utf-8")
    monkeypatch.syspath_prepend(str(tmp_path))
    monkeypatch.setattr(environment, "FINGERPRINTED", ("fingerprinted_package", "not_installed_anywhere"))
    monkeypatch.setattr(environment, "NOT_FINGERPRINTED", ("fingerprinted_package/cli.py",))
    importlib.invalidate_caches()
    return root


def test_the_fingerprint_changes_with_the_sources_alone(package: Path) -> None:
    first = code_fingerprint()
    (package / "cli.py").write_text("shown = 'differently'", encoding="utf-8")
    (package / "data.toml").write_text("x = 1", encoding="utf-8")
    (package / "inner" / "code.py").write_bytes(b"x = 1\r\n")
    assert code_fingerprint() == first
    (package / "inner" / "code.py").write_text("x = 2\n", encoding="utf-8")
    changed = code_fingerprint()
    (package / "inner" / "code.py").rename(package / "inner" / "renamed.py")
    assert len({first, changed, code_fingerprint()}) == 3


def test_the_fingerprint_of_this_program_covers_itself() -> None:
    names = [name for name, _ in environment._sources("harness", Path(environment.__file__).parent)]
    assert "harness/environment.py" in names
    assert names == sorted(names)
    assert not set(environment.NOT_FINGERPRINTED) & set(names)
    assert len(code_fingerprint()) == 64
