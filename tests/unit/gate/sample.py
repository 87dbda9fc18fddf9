"""Run folders with given figures, as the harness writes them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from harness.environment import code_fingerprint
from harness.records import FORMAT, CellRecord, ExperimentRecord, Meter
from harness.store import CellFolder, RunFolder

DATASET = "animals"
Values = Mapping[str, Sequence[float]]
"""measure -> a value a query, q0 first."""


def meter(p50: float = 1.0, memory: int = 100, index: int = 1_000, parameters: int = 0) -> Meter:
    """What one system cost."""
    return {
        "latency_ms": {"p50": p50, "p95": 2 * p50, "p99": 3 * p50, "mean": p50, "n": 20, "k": 100},
        "rss_peak_bytes": {"index": memory, "search": memory},
        "index_bytes": index,
        "parameter_bytes": parameters,
    }


def write_run(
    folder: Path,
    systems: Mapping[str, Values],
    *,
    meters: Mapping[str, Meter] | None = None,
    failed: Mapping[str, str] | None = None,
    seeds: Sequence[int] = (0,),
    checksum: str = "c0ffee" * 10,
    dataset: str = DATASET,
    code: str | None = None,
    **keys: Any,
) -> Path:
    """Write the run folder and return it. failed: system -> reason, of its last seed. keys: of experiment.json.

    code: of the sources that made the cells; None: those here.
    """
    code = code or code_fingerprint()
    run, failed = RunFolder(folder), failed or {}
    cells = []
    for system, values in systems.items():
        for seed in seeds:
            place = run.cell_folder(dataset, system, seed)
            family = {"oracle": "bracket"}.get(system, "sparse")
            cells.append(
                CellRecord(
                    dataset=dataset,
                    system=system,
                    registered=system,
                    family=family,
                    seed=seed,
                    folder=place.relative_to(folder).as_posix(),
                    fingerprint=f"{system}-settings",
                )
            )
            costs, reason = (meters or {}).get(system, meter()), failed.get(system) if seed == seeds[-1] else None
            ended = {"reason": reason, "fingerprint": f"{system}-settings", "code": code}
            write_cell(CellFolder(place), values, costs, **ended)
    record = ExperimentRecord(
        format=FORMAT,
        name="trial",
        title="",
        description="",
        fingerprint="f",
        created="2025-01-01T10:00:00+00:00",
        harness_version="0.1.0",
        command=[],
        config={},
        split="test",
        depth=100,
        measures=[],
        primary="RR@5",
        datasets={dataset: {"checksum": checksum}},
        environment={},
        seeds=list(seeds),
        cells=cells,
        notes=[],
    )
    run.write_experiment({**record, **keys})  # type: ignore[typeddict-item]
    return folder


def write_cell(
    folder: CellFolder, values: Values, costs: Meter, *, reason: str | None, fingerprint: str, code: str
) -> None:
    folder.write_status(
        {
            "format": FORMAT,
            "state": "failed" if reason else "done",
            "reason": reason,
            "phase": "index" if reason else None,
            "fingerprint": fingerprint,
            "code": code,
            "started": "2025-01-01T10:00:00+00:00",
            "ended": "2025-01-01T10:00:01+00:00",
            "wall_s": 1.0,
            "exit_code": None,
        }
    )
    if not reason:
        folder.write_per_query({m: {f"q{i}": float(v) for i, v in enumerate(column)} for m, column in values.items()})
        folder.write_meter(costs)
