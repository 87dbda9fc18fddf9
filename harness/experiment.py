"""What to run: an experiment, written as TOML, checked and frozen before anything starts.

name = "quick"
seeds = [0]
[limits]                                # of each cell
time_s = 3600
[datasets."vital-articles/500"]
max_passage_words = 60
[systems.bm25]                          # a label that is a system's name
[systems.dsi-naive]                     # a label of its own, for the system called dsi
system = "dsi"
docid = "naive"                         # the rest is checked by that system's settings
[systems.dsi-random]                    # the settings of another, but for those that follow
like = "dsi-naive"
docid = "random"
[systems.memory]                        # those of a shipped experiment's system
like = "standard/self-retrieval"
training.tokens = 100_000
[runs.colbert]                          # a system that is not run here, only its hits are read
file = "colbert.trec"                   # several datasets: [runs.colbert.files] with dataset = "file" lines
"""

from __future__ import annotations

import hashlib
import json
import tomllib
from collections.abc import Mapping, Sequence
from importlib import resources
from pathlib import Path
from typing import Annotated, Any, Literal

from pydantic import BaseModel, ConfigDict, Field, StringConstraints, field_validator, model_validator

from harness import overrides
from harness.datasets.files import opened
from harness.datasets.settings import DatasetSettings
from harness.errors import ConfigError, DataError, UnknownNameError
from harness.measures import DEFAULT
from harness.validation import validated

LONGEST_BYTES = 2**20
"""A longer file is no experiment, and reading it as one would take minutes."""
FOLDER_NAME = Annotated[str, StringConstraints(pattern=r"^[A-Za-z0-9][A-Za-z0-9._-]*$", max_length=80)]
"""Names that become folders: letters, digits, '.', '_' and '-'."""


class _Table(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True, allow_inf_nan=False)


class Limits(_Table):
    """What one cell (index and search together) may use before it is stopped."""

    time_s: float = Field(3600.0, gt=0, description="wall-clock seconds")
    memory_gb: float = Field(16.0, gt=0, description="resident memory in GiB, of the process and its children")


class Latency(_Table):
    """How the time of a single query is measured."""

    queries: int = Field(20, ge=1, description="queries timed one at a time, chosen by hash")
    warmup: int = Field(3, ge=0, description="other queries before them, uncounted")


class Batch(_Table):
    """How all queries are searched."""

    size: int = Field(32, ge=1, description="queries given to one call of search")


class SystemChoice(BaseModel):
    """One system of an experiment: which registered one, and its settings (the other keys, checked by that system)."""

    model_config = ConfigDict(extra="allow", frozen=True)

    system: str

    def settings(self) -> dict[str, Any]:
        """Return the settings as written."""
        return dict(self.model_extra or {})


class OutsideRun(_Table):
    """The run of a system that is not run here, as TREC files; paths begin in the current folder."""

    file: str | None = Field(None, min_length=1, description="file, in an experiment of one dataset")
    files: dict[str, Annotated[str, StringConstraints(min_length=1)]] = Field({}, description="dataset -> file")

    @model_validator(mode="after")
    def _either(self) -> OutsideRun:
        """Refuse none and both."""
        if (self.file is None) == (not self.files):
            raise ValueError("either a file, or files by dataset")
        return self


class Experiment(_Table):
    """Everything that decides what is run."""

    name: FOLDER_NAME
    title: str = ""
    description: str = ""
    seeds: tuple[Annotated[int, Field(ge=0)], ...] = Field((0,), min_length=1)
    split: Literal["train", "dev", "test"] = "test"
    limit: int | None = Field(None, ge=1, description="queries evaluated, the first of the split; None: all")
    depth: int = Field(100, ge=1, description="hits asked for per query")
    primary: str = "RR@5"
    measures: tuple[str, ...] = Field(DEFAULT, min_length=1)
    limits: Limits = Limits()
    latency: Latency = Latency()
    batch: Batch = Batch()
    datasets: dict[str, DatasetSettings] = Field(min_length=1)
    systems: dict[FOLDER_NAME, SystemChoice] = Field(min_length=1)
    runs: dict[FOLDER_NAME, OutsideRun] = Field({}, description="label -> run of a system that is not run here")

    @field_validator("systems", mode="before")
    @classmethod
    def _name_systems(cls, systems: Any) -> Any:
        """Give each label its system, by default that of its name, and the settings of what it is `like`."""
        return _resolved(systems) if isinstance(systems, Mapping) else systems

    @field_validator("seeds", "measures")
    @classmethod
    def _once(cls, values: tuple[Any, ...]) -> tuple[Any, ...]:
        """Refuse repetitions."""
        if len(set(values)) < len(values):
            raise ValueError("each value may stand once only")
        return values

    @classmethod
    def from_table(cls, table: Mapping[str, Any], origin: str) -> Experiment:
        """Check a table as read from TOML; `origin` names its source in messages.

        Raises:
            ConfigError: unknown keys, values of a wrong type or out of range.
        """
        return validated(cls, table, origin)

    def table(self) -> dict[str, Any]:
        """Return the experiment as a table that `from_table` reads and JSON can hold."""
        return self.model_dump(mode="json")

    def fingerprint(self) -> str:
        """Return the SHA-256 of the canonical JSON of the experiment, as hex."""
        return fingerprint(self.table())

    def with_overrides(
        self,
        datasets: Sequence[str] | None = None,
        systems: Sequence[str] | None = None,
        sets: Sequence[str] = (),
        seed: int | None = None,
        limit: int | None = None,
        *,
        runs: Sequence[str] = (),
    ) -> Experiment:
        """Return the experiment changed as `harness.overrides.apply` describes, checked again."""
        changed = overrides.apply(
            self.table(), datasets=datasets, systems=systems, sets=sets, seed=seed, limit=limit, runs=runs
        )
        return self.from_table(changed, f"experiment {self.name!r} as changed on the command line")


_Place = tuple[str, str]
"""The name of a shipped experiment, empty for the one that is read, and a label of it."""


def _resolved(systems: Mapping[str, Any]) -> dict[str, Any]:
    """Return the systems with nothing left out: the system of each, and the settings of the label it is `like`.

    Raises:
        ValueError: a label that there is not, or that is like itself by way of others.
    """
    written: dict[str, Mapping[str, Any]] = {"": systems}
    found: dict[_Place, Any] = {("", label): own for label, own in systems.items() if not isinstance(own, Mapping)}
    for label in systems:
        chain: list[_Place] = [("", label)]
        while chain[-1] not in found and (base := _base(written, *chain[-1])) is not None:
            if base in chain:
                names = " is like ".join(_called(*place) for place in [*chain, base])
                raise ValueError(f"{names}: one of them needs settings of its own")
            chain.append(base)
        below: Any = None
        for place in reversed(chain):
            if place not in found:
                own = {key: value for key, value in written[place[0]][place[1]].items() if key != "like"}
                found[place] = _merged(below if isinstance(below, Mapping) else {"system": place[1]}, own)
            below = found[place]
    return {label: found["", label] for label in systems}


def _base(written: dict[str, Mapping[str, Any]], name: str, label: str) -> _Place | None:
    """Return what a label is `like`, if anything; a shipped experiment that it names joins what is `written`."""
    like = written[name][label].get("like")
    if like is None:
        return None
    there, label_there = name, like
    if isinstance(like, str) and "/" in like:
        there, _, label_there = like.partition("/")
        if not there or there not in written:
            files = _shipped_files()
            if there not in files:
                raise ValueError(f"{_called(name, label)} is like {like!r}; shipped experiments: {', '.join(files)}")
            written[there] = _parse(files[there].read_bytes(), f"{there}.toml")["systems"]
    if not isinstance(label_there, str) or label_there not in written[there]:
        whose = f"the experiment {there!r}" if there else "this experiment"
        labels = f"the labels: {', '.join(written[there])}"
        raise ValueError(f"{_called(name, label)} is like {like!r}, which is no system of {whose}; {labels}")
    return there, label_there


def _called(name: str, label: str) -> str:
    return f"{name}/{label}" if name else label


def _merged(base: Mapping[str, Any], own: Mapping[str, Any]) -> dict[str, Any]:
    """Return `base` with the values of `own` in place of its own, tables within tables too (JSON nests 200 deep)."""
    merged = dict(base)
    for key, value in own.items():
        below = base.get(key)
        tables = isinstance(value, Mapping) and isinstance(below, Mapping)
        merged[key] = _merged(below or {}, value) if tables else value
    return merged


def fingerprint(value: Any) -> str:
    """Return the SHA-256 of a JSON value as hex, independent of the order of keys.

    >>> fingerprint({"a": 1, "b": 2}) == fingerprint({"b": 2, "a": 1})
    True
    """
    canonical = json.dumps(value, sort_keys=True, separators=(",", ":"), ensure_ascii=False)
    return hashlib.sha256(canonical.encode()).hexdigest()


def load(name_or_path: str) -> Experiment:
    """Read a shipped experiment by its name, or any by its file.

    Raises:
        UnknownNameError: no experiment of that name is shipped.
        ConfigError: the file is missing, is no TOML, or holds what an experiment may not hold.
    """
    shipped_files = _shipped_files()
    if name_or_path in shipped_files:
        return Experiment.from_table(
            _parse(shipped_files[name_or_path].read_bytes(), f"{name_or_path}.toml"), name_or_path
        )
    path = Path(name_or_path)
    if path.suffix != ".toml" and path.name == name_or_path and not path.is_file():
        raise UnknownNameError.of("experiment", name_or_path, shipped_files)
    try:
        with opened(path) as file:
            text = file.read(LONGEST_BYTES + 1)
    except (OSError, DataError) as error:
        reason = error.got if isinstance(error, DataError) else error.strerror
        raise ConfigError(
            "an experiment's TOML file",
            f"{name_or_path} ({reason})",
            f"correct the path, or name a shipped experiment: {', '.join(shipped_files)}",
        ) from error
    if len(text) > LONGEST_BYTES:
        fix = "name an experiment's file"
        raise ConfigError(f"at most {LONGEST_BYTES:,} bytes of TOML in {name_or_path}", "more", fix)
    return Experiment.from_table(_parse(text, name_or_path), name_or_path)


def shipped() -> list[tuple[str, str]]:
    """List the experiments that come with the package as (name, title), by name."""
    return [(name, str(_parse(file.read_bytes(), name).get("title", ""))) for name, file in _shipped_files().items()]


def _shipped_files() -> dict[str, Any]:
    folder = resources.files("harness") / "experiments"
    found = {file.name.removesuffix(".toml"): file for file in folder.iterdir() if file.name.endswith(".toml")}
    return dict(sorted(found.items()))


def _parse(text: bytes, origin: str) -> dict[str, Any]:
    """Read TOML; the error names file and line."""
    try:
        return tomllib.loads(text.decode("utf-8"))
    except UnicodeDecodeError as error:
        line = text.count(b"\n", 0, error.start) + 1
        raise ConfigError(f"UTF-8 text in {origin}", f"other bytes (at line {line})", "save it as UTF-8") from error
    except (ValueError, RecursionError) as error:
        # Beside what is no TOML: more digits than Python reads, tables in tables without end.
        raise ConfigError(f"TOML in {origin}", str(error), f"correct {origin}") from error
