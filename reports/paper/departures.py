"""What sets the systems measured here apart from the paper's, told from the settings of their cells.

A sentence written beforehand is wrong as soon as somebody runs another backbone or fewer training queries.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator, Mapping
from typing import Any

from reports import units
from reports.paper.measured import Group, Measured

PAPER: Mapping[str, Any] = {
    "indexing": True,
    "titles": True,
    "assessment": True,
    "title_beams": 5,
    "passage_beams": 10,
    "tau": 0.4,
    "delta": 0.4,
    "softmax_per_title": False,
    "assessment_score": "mean",
    "negatives": 5,
    "prefix": "ten words",
    "reach": "beginning",
    "candidates": "written",
    "title_prior": 0.0,
    "prior": False,
    "likelihood": False,
    "judged": None,
    "ranking": "paper",
    "calibration_queries": 0,
    "curriculum": "staged",
    "lowercase": True,
    "masked_sentences": False,
    "trim_vocabulary": False,
    "answer_candidates": 1,
}
"""The method's settings as the paper has them: the defaults of Self-Retrieval, but for those a small model forbids."""
WEIGHTS: Mapping[str, float] = {
    "title": 1.0,
    "title_mean": 0.0,
    "passage": 1.0,
    "prior": 0.0,
    "acceptance": 0.0,
    "likelihood": 0.0,
}
"""Defaults of `weights`, which count in a log-linear ranking alone."""
VIEWS: Mapping[str, bool] = {
    "memorise": True,
    "recall": True,
    "predicate": False,
    "title": True,
    "passage": True,
    "content": True,
    "assess": True,
    "likelihood": False,
}
"""Whether the paper teaches a view. How the tokens are shared among those it teaches is a matter of budget."""

DEPTH = 100
"""Candidates that the paper reads again."""
SELF_RERANK = "self-rerank"
_LANGUAGE_MODELS = ("self-retrieval", SELF_RERANK, "dsi", "dense-reader")
_ENCODERS = ("dense", "dense-finetuned", "rerank")
_EMBEDDED = "embedded"
_BACKBONE, _ENCODER = "SmolLM2-135M", "all-MiniLM-L6-v2 (23M parameters)"


def departing(settings: Mapping[str, Any]) -> list[str]:
    """List as KEY=VALUE the settings in which a Self-Retrieval departs from the paper's.

    One that the record does not name is not listed: it is from before there was such a setting.

    >>> departing({"judged": 20, "titles": True, "ranking": "paper", "shares": {"assess": 0.0, "title": 0.7}})
    ['judged=20', 'shares.assess=0.0']
    """
    found = [(key, settings[key]) for key, value in PAPER.items() if settings.get(key, value) != value]
    if settings.get("ranking") == "log-linear":
        own = settings.get("weights", {})
        found += [(f"weights.{key}", own[key]) for key, value in WEIGHTS.items() if own.get(key, value) != value]
    own = settings.get("shares", {})
    found += [(f"shares.{key}", own[key]) for key, taught in VIEWS.items() if (own.get(key, taught) > 0) != taught]
    return [f"{key}={json.dumps(value)}" for key, value in found]


def notes(measured: Measured) -> list[str]:
    """Say of each Self-Retrieval measured here in which settings it departs from the paper's."""
    return [
        f"Departs from the paper's settings, besides model and training budget (docs/METHOD.md): {one}."
        for one in _grouped(measured, lambda group: ", ".join(departing(_own(group))))
    ]


def models(measured: Measured) -> list[str]:
    """Say for a caption which models were measured here, on how many queries trained, and how much they read again."""
    found = _grouped(measured, lambda group: ", ".join(_model(group)))
    budgets = {tokens for data in measured.data for g in data.groups.values() if (tokens := _budget(g)) is not None}
    if len(budgets) == 1:
        found.append(f"{units.count(budgets.pop())} training tokens for each language model, whatever it is taught")
    return found


def _own(group: Group) -> Mapping[str, Any]:
    """Return the settings of the Self-Retrieval in a system; none where there is none."""
    if group.registered == SELF_RERANK:
        judge: Mapping[str, Any] = group.settings.get("judge", {})
        return judge
    return group.settings if group.registered == "self-retrieval" else {}


def _model(group: Group) -> Iterator[str]:
    """Name the model of a system, then what else a reader must know of it."""
    settings = group.settings
    if group.registered in _LANGUAGE_MODELS:
        yield from _backbone((_own(group) or settings).get("backbone"))
    if group.registered in _ENCODERS and (model := settings.get("model")):
        yield _encoder(model)
    if group.registered == "dense-reader" and (model := settings.get("first_stage", {}).get("model")):
        yield f"behind {_encoder(model)}, not fine-tuned"
    if group.registered in ("dense-finetuned", "rerank") and "training" in settings:
        queries = settings["training"].get("queries")
        yield f"trained on at most {queries:,} of the training queries" if queries else "trained on the training pairs"
    if depth := settings.get("depth"):
        yield f"reads the first {depth}" + ("" if depth == DEPTH else f" (the paper: {DEPTH})")
    first = settings.get("first_settings" if group.registered == SELF_RERANK else str(settings.get("first")), {})
    if (model := first.get("model", _EMBEDDED)) != _EMBEDDED:
        yield f"of what {model} found"


def _backbone(name: str | None) -> Iterator[str]:
    """Name a backbone as people know it; "#layers=10" behind it keeps so many of its layers."""
    if name:
        source, _, layers = name.partition("#layers=")
        yield _BACKBONE if source == _EMBEDDED else source
        if layers:
            yield f"its first {layers} layers"


def _encoder(name: str) -> str:
    return _ENCODER if name == _EMBEDDED else name


def _budget(group: Group) -> int | None:
    if group.registered not in _LANGUAGE_MODELS:
        return None
    tokens: int | None = (_own(group) or group.settings).get("training", {}).get("tokens")
    return tokens


def _grouped(measured: Measured, say: Callable[[Group], str]) -> list[str]:
    """Say something of every system, once for all of which the same is said."""
    said: dict[str, dict[str, list[str]]] = {}
    for data in measured.data:
        for label, group in data.groups.items():
            said.setdefault(say(group), {}).setdefault(label, []).append(data.label)
    several = {label for label in measured.systems if sum(label in of for of in said.values()) > 1}
    return [
        ", ".join(f"{label} on {' and '.join(on)}" if label in several else label for label, on in of.items())
        + f": {text}"
        for text, of in said.items()
        if text
    ]
