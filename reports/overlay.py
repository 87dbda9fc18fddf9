"""Test systems of several runs against each other, on the queries they share."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from harness.significance import compare, holm, paired_randomisation
from reports.load import Comparison, Row
from reports.queries import averages

SEED = 0
"""Of the tests; the runs may have had any."""

Values = Mapping[str, Mapping[str, Mapping[str, float]]]
"""system -> measure -> qid -> value."""


def named(run: str, system: str) -> str:
    """Name a system by its run.

    >>> named("standard", "bm25")
    'standard: bm25'
    """
    return f"{run}: {system}"


def paired(rows: Sequence[Row], runs: Sequence[str]) -> tuple[Comparison, ...]:
    """Compare every system with the best baseline of all runs, and with itself in the first run that has it.

    Holm's correction runs over all of them. Left out are a system nothing is kept of query by query, one measured on
    other queries than the first of all (against the baseline), or than itself in that run.
    """
    values = {row.system: own for row in rows if (own := averages(row))}
    alike, families = _on_the_same_queries(values), {row.system: row.family for row in rows}
    found: list[dict[str, Any]] = [dict(row) for row in compare(alike, families, dataset="", split="", seed=SEED)]
    known = {_pair(row) for row in found}
    found += [row for row in _own(values, runs) if _pair(row) not in known]
    adjusted = holm([row["p"] for row in found])
    return tuple(
        Comparison(r["system"], r["baseline"], r["measure"], r["difference"], r["p"], p_holm, r["n"])
        for r, p_holm in zip(found, adjusted, strict=True)
    )


def untested(system: Row, first: Row, measure: str) -> str:
    """Say why `paired` holds no test of a system against itself in the first run."""
    values = {row.system: averages(row).get(measure) for row in (first, system)}
    lacking = [name for name, by_qid in values.items() if not by_qid]
    if lacking:
        return f"nothing of {' and '.join(lacking)} is kept query by query"
    return "they were measured on different queries"


def _pair(row: Mapping[str, Any]) -> tuple[str, frozenset[str]]:
    return row["measure"], frozenset((row["system"], row["baseline"]))


def _on_the_same_queries(values: Values) -> dict[str, Mapping[str, Mapping[str, float]]]:
    first = next(iter(values.values()), {})
    wanted = {measure: by_qid.keys() for measure, by_qid in first.items()}
    return {s: v for s, v in values.items() if all(v.get(m, {}).keys() in (qids, set()) for m, qids in wanted.items())}


def _own(values: Values, runs: Sequence[str]) -> Iterator[dict[str, Any]]:
    """Compare each system with itself in the first run that has it."""
    starts = [named(run, "") for run in runs]
    systems = dict.fromkeys(n.removeprefix(start) for start in starts for n in values if n.startswith(start))
    for system in systems:
        first, *others = [name for run in runs if (name := named(run, system)) in values]
        for later in others:
            for measure, a in values[later].items():
                b = values[first].get(measure, {})
                if a.keys() != b.keys():
                    continue
                theirs = [b[qid] for qid in a]
                p = paired_randomisation(list(a.values()), theirs, SEED)
                difference = sum(a.values()) / len(a) - sum(theirs) / len(a)
                pair = {"system": later, "baseline": first, "measure": measure}
                yield pair | {"difference": difference, "p": p, "n": len(a)}
