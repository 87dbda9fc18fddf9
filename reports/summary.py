"""Say in sentences what the figures show, whichever way they fall."""

from __future__ import annotations

import json
from dataclasses import dataclass

from reports import units
from reports.load import EQUAL, SELF_RETRIEVAL, Cell, Comparison, Report, Row, Score, Section
from reports.marks import without_p
from reports.units import label, p_equals, ratio, signed

TRAINED_FAMILIES = ("generative", SELF_RETRIEVAL)
SAME_TOKENS = 0.02
"""Token budgets that differ by less than this share count as equal."""
SMALL_SLICE = 30


@dataclass(frozen=True)
class Failure:
    """The cells of one system that have no result for one and the same reason; `folder` is the first one's."""

    dataset: str
    system: str
    seeds: tuple[int, ...]
    reason: str
    folder: str


def summary(report: Report) -> dict[str, tuple[str, ...]]:
    """Return dataset -> one to three sentences: who leads, how self-retrieval fares, what it costs."""
    return {s.dataset: _unasked(s) if s.unasked else _asked(s) for s in report.sections}


def _asked(section: Section) -> tuple[str, ...]:
    return tuple(text for text in (_lead(section), _against(section), _price(section)) if text)


def together(section: Section) -> tuple[str, ...]:
    """Return what is said of the average of several datasets: who leads, how self-retrieval fares, who is not in it."""
    against = (_against(section),) if _subject(section) else ()
    return _lead(section), *against, *without_mean(section)


def without_mean(section: Section) -> tuple[str, ...]:
    """Name the systems of an average that are not in it, if there are any."""
    lacking = [row.system for row in section.rows if not row.score(section.primary)]
    return (f"Without a mean, for want of a result on one dataset or more: {_and(lacking)}.",) if lacking else ()


def _unasked(section: Section) -> tuple[str, ...]:
    done = [r.system for r in section.rows if r.failed is None and not r.bracket]
    ready = f"{_and(done)} can be searched with harness search." if done else "No system is ready to be searched."
    return (f"Nothing was evaluated on {section.dataset}, because the set has no queries.", ready)


def failures(report: Report) -> tuple[Failure, ...]:
    """List what failed or never ran, in the order of the tables; seeds with one reason are told once."""
    grouped: dict[tuple[str, str, str], list[Cell]] = {}
    for section in report.sections:
        for row in section.rows:
            for cell in row.unfinished:
                grouped.setdefault((section.dataset, row.system, cell.reason), []).append(cell)
    return tuple(
        Failure(dataset, system, tuple(c.seed for c in cells), reason, cells[0].folder)
        for (dataset, system, reason), cells in grouped.items()
    )


def _value(row: Row, measure: str) -> Score:
    found = row.score(measure)
    if found is None:
        raise ValueError(f"{row.system} was ranked without a score on {measure}")
    return found


def _lead(section: Section) -> str:
    ranked, reference, measure = section.ranked(), section.reference(), section.primary
    if not ranked:
        return f"No system has a score on {section.dataset}."
    first, best = ranked[0], _value(ranked[0], measure).value
    tied = [r.system for r in ranked if best - _value(r, measure).value < EQUAL]
    figure = f"{label(measure)} {units.score(best)}"
    if len(tied) > 1:
        return f"On {section.dataset}, {_and(tied)} share the first place with {figure}."
    if len(ranked) == 1:
        return f"On {section.dataset}, {first.system} is the only system with a score ({figure})."
    baseline = reference is not None and first.system == reference.system
    other = ranked[1] if baseline or reference is None else reference
    whom = f"second-placed {other.system}" if baseline or reference is None else f"the best baseline, {other.system}"
    gap = best - _value(other, measure).value
    first_name = f"{first.system}, a baseline," if baseline else first.system
    return (
        f"On {section.dataset}, {first_name} is first with {figure}, {units.score(gap)} ahead of {whom}"
        f" ({units.score(best - gap)}); {_verdict(section.compare(first.system, other.system))}."
    )


def _verdict(found: Comparison | None) -> str:
    if found is None:
        return "no test of this difference was recorded"
    if found.p_holm is None:
        return f"the difference was {without_p(found)}"
    word = "significant" if found.significant else "not significant"
    return f"the difference is {word} ({p_equals(found.p_holm)} after Holm's correction)"


def _subject(section: Section) -> Row | None:
    """Return the self-retrieval system that does best on the primary measure."""
    return next((r for r in section.ranked() if r.family == SELF_RETRIEVAL), None)


def _against(section: Section) -> str:
    subject = _subject(section)
    if subject is None:
        planned = [r.system for r in section.rows if r.family == SELF_RETRIEVAL]
        if not planned:
            return "No self-retrieval system took part."
        return f"{_and(planned)} has no score here (see below), so self-retrieval cannot be compared."
    rivals = [r for r in section.ranked() if r.family != SELF_RETRIEVAL]
    if not rivals:
        return f"{subject.system} has no other system to be compared with."
    place = 1 + sum(_value(r, section.primary).value > _value(subject, section.primary).value for r in section.ranked())
    parts = [_one_rival(section, subject, r) for r in rivals]
    number = f"{units.score(_value(subject, section.primary).value)}, place {place} of {len(section.ranked())}"
    return f"{subject.system} ({number}) {_and(parts)}."


def _one_rival(section: Section, subject: Row, rival: Row) -> str:
    gap = _value(subject, section.primary).value - _value(rival, section.primary).value
    found = section.compare(subject.system, rival.system)
    if found is None:
        verdict = "not tested"
    elif found.p_holm is None:
        verdict = without_p(found)
    else:
        verdict = p_equals(found.p_holm) + ("" if found.significant else ", not significant")
    if gap == 0:
        return f"equals {rival.system} ({verdict})"
    verb = "gains" if gap > 0 else "loses"
    return f"{verb} {signed(gap)[1:]} {'over' if gap > 0 else 'to'} {rival.system} ({verdict})"


def _price(section: Section) -> str:
    reference = section.reference()
    subject = _subject(section) or next(iter(section.ranked()), None)
    if reference is None or subject is None or subject.system == reference.system:
        return ""
    parts = []
    latencies = subject.cost("latency_ms.p50"), reference.cost("latency_ms.p50")
    if latencies[0] is not None and latencies[1]:
        sizes = f"{units.milliseconds(latencies[0])} against {units.milliseconds(latencies[1])}"
        parts.append(f"{ratio(latencies[0] / latencies[1])} the median latency ({sizes})")
    memory = subject.memory_bytes, reference.memory_bytes
    if memory[0] is not None and memory[1]:
        sizes = f"{units.size(memory[0])} against {units.size(memory[1])} of index and parameters"
        if kept := subject.cost("cache_bytes"):
            sizes += f", beside {units.size(kept)} of what it has read, kept between queries"
        parts.append(f"{ratio(memory[0] / memory[1])} the memory ({sizes})")
    if not parts:
        return f"Latency and memory of {subject.system} and {reference.system} were not both measured."
    return f"{subject.system} needs {_and(parts)} of {reference.system}, the best baseline."


def fairness(section: Section) -> tuple[str, ...]:
    """Say whether the generative systems trained on equally many tokens, and what else tells them apart."""
    rows = [r for r in section.rows if r.family in TRAINED_FAMILIES and r.failed is None]
    if len(rows) < 2:
        return ("Fewer than two generative systems have a result, so there are no training budgets to compare.",)
    tokens = {r.system: t for r in rows if (t := r.cost("train_tokens")) is not None}
    said = []
    missing = [r.system for r in rows if r.system not in tokens]
    if missing:
        said.append(f"Training tokens were not measured for {_and(missing)}.")
    listed = ", ".join(f"{name} {units.count(n)}" for name, n in tokens.items())
    if len(tokens) > 1:
        low, high = min(tokens.values()), max(tokens.values())
        if high - low <= SAME_TOKENS * high:
            said.append(f"Generative systems trained on equally many tokens, within 2\u202f% ({listed}).")
        else:
            times = f"{ratio(high / low)} the smallest budget" if low else "a system trained on none"
            said.append(f"Training budgets differ: {listed} tokens (the largest is {times}).")
    models = {r.system: b for r in rows if (b := r.cost("parameter_bytes")) is not None}
    if models and max(models.values()) - min(models.values()) > SAME_TOKENS * max(models.values()):
        listed = ", ".join(f"{name} {units.size(b)}" for name, b in models.items())
        said.append(f"Their models differ in size: {listed}.")
    return tuple(said)


def limits(report: Report) -> tuple[str, ...]:
    """List what these figures cannot show."""
    said = [_spread(report)]
    if any(s.comparisons for s in report.sections):
        said.append(
            "The best baseline is picked on the same queries that it is compared on, which favours it slightly."
        )
    for section in report.sections:
        few = [f"{name} ({n})" for name, n in section.slices().items() if n < SMALL_SLICE]
        if few:
            said.append(
                f"{section.dataset}: slices of fewer than {SMALL_SLICE} queries show tendencies only: {_and(few)}."
            )
    said.append("Times and memory hold for the machine below; compare them with runs on the same machine only.")
    if any(c.training for s in report.sections for r in s.rows for c in r.cells):
        said.append(
            "Training losses of different systems count different spans of text and are not comparable in height."
        )
    return tuple(said)


def _spread(report: Report) -> str:
    """Say what is known of the spread over seeds: nothing where each system has one, whichever (runs compared)."""
    if report.most_seeds < 2:
        whose = "" if len(report.seeds) == 1 else " a system"
        return (
            f"One seed{whose} ({', '.join(map(str, report.seeds))}): how far figures vary from seed to seed is unknown;"
            " the intervals cover the choice of queries alone."
        )
    counts = {row.seeds_done for section in report.sections for row in section.rows if row.failed is None}
    upto = "up to " if len(counts) > 1 else ""
    return f"Intervals cover the choice of queries; the spread over {upto}{max(counts)} seeds is given apart."


def facts(tree: object, path: str = "") -> list[tuple[str, str]]:
    """Flatten nested JSON into (dotted key, text), for the lists of cards and environments."""
    if isinstance(tree, dict):
        return [pair for key, value in tree.items() for pair in facts(value, f"{path}.{key}" if path else str(key))]
    if isinstance(tree, list):
        return [(path, "; ".join(v if isinstance(v, str) else json.dumps(v, ensure_ascii=False) for v in tree))]
    if tree is None or tree == "":
        return []
    if path.endswith("_bytes") and isinstance(tree, int):
        return [(path.removesuffix("_bytes"), units.size(tree))]
    return [(path, tree if isinstance(tree, str) else json.dumps(tree, ensure_ascii=False))]


def _and(parts: list[str]) -> str:
    """Join with commas and a last "and"."""
    return ", ".join(parts[:-1]) + (" and " if len(parts) > 1 else "") + parts[-1]
