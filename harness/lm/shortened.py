"""Keep only the first layers of a language model, to see what its size is worth (Figure 2, Tang et al. 2024)."""

from __future__ import annotations

import re
from typing import Any

from harness.errors import ConfigError

_SUFFIX = re.compile(r"^(?P<name>.+)#layers=(?P<layers>[0-9]+)$")


def split(name: str) -> tuple[str, int | None]:
    """Split "NAME#layers=N" into the name of the model and the number of its layers to keep; None: all.

    >>> split("embedded#layers=10"), split("embedded")
    (('embedded', 10), ('embedded', None))
    """
    found = _SUFFIX.match(name)
    return (found["name"], int(found["layers"])) if found else (name, None)


def shorten(config: Any, layers: int, name: str) -> None:
    """Let the configuration of a model ask for its first `layers` transformer layers alone.

    Raises:
        ConfigError: the model has fewer, none is to be kept, or it has an encoder whose layers are counted apart.
    """
    there = int(config.num_hidden_layers)
    if not 1 <= layers <= there or config.is_encoder_decoder:
        has = f"{there} layers in encoder and decoder each" if config.is_encoder_decoder else f"{there} layers"
        raise ConfigError(
            f"a number of layers from 1 to those of a decoder-only model behind {name!r}",
            f"#layers={layers}, and a model of {has}",
            "correct the number, or leave #layers= out",
        )
    config.num_hidden_layers = layers
    if getattr(config, "layer_types", None):
        config.layer_types = list(config.layer_types)[:layers]
