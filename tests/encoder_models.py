"""A tiny sentence encoder with random weights, and a task it can learn: words that mean the same."""

from __future__ import annotations

from pathlib import Path

from harness.types import Corpus, Passage, Query, Split

WORDS = 12
NO_DEV = Split("dev")


def tiny_encoder_folder(folder: Path) -> str:
    """Write a Hugging Face folder: a random two-layer BERT over the words of the task below."""
    import torch
    from tokenizers import Tokenizer, models, pre_tokenizers, processors
    from transformers import BertConfig, BertModel, PreTrainedTokenizerFast

    words = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "please", "filler", "padding"]
    words += [f"{letter}{n}" for letter in "abx" for n in range(WORDS)]
    tokenizer = Tokenizer(models.WordLevel({word: n for n, word in enumerate(words)}, unk_token="[UNK]"))
    tokenizer.pre_tokenizer = pre_tokenizers.Whitespace()
    tokenizer.post_processor = processors.TemplateProcessing(
        single="[CLS] $A [SEP]",
        pair="[CLS] $A [SEP] $B:1 [SEP]:1",
        special_tokens=[("[CLS]", 2), ("[SEP]", 3)],
    )
    PreTrainedTokenizerFast(
        tokenizer_object=tokenizer,
        unk_token="[UNK]",
        pad_token="[PAD]",
        cls_token="[CLS]",
        sep_token="[SEP]",
        model_max_length=64,
    ).save_pretrained(folder)
    config = BertConfig(
        vocab_size=len(words),
        hidden_size=32,
        intermediate_size=48,
        num_hidden_layers=2,
        num_attention_heads=2,
        max_position_embeddings=64,
        hidden_dropout_prob=0.0,
        attention_probs_dropout_prob=0.0,
    )
    torch.manual_seed(0)
    BertModel(config).save_pretrained(folder)
    return str(folder)


def passages() -> Corpus:
    """Passage `n` reads "b<n> x<n>" amid words that stand in all of them."""
    return Corpus.from_passages(Passage(f"d{n}", "", f"filler b{n} x{n} padding", f"d{n}") for n in range(WORDS))


def asked(name: str, wording: str, shift: int = 0) -> Split:
    """A query for each passage, `wording` with its number; `shift` makes the judgements wrong."""
    queries = tuple(Query(f"{name}{n}", wording.format(n)) for n in range(WORDS))
    return Split(name, queries, {f"{name}{n}": {f"d{(n + shift) % WORDS}": 1} for n in range(WORDS)})


class Told:
    """A Progress that keeps what it is told."""

    def __init__(self) -> None:
        self.phases: list[tuple[str, int | None, str]] = []
        self.rows: list[dict[str, float | int | str]] = []
        self.done = 0

    def phase(self, name: str, total: int | None = None, unit: str = "") -> None:
        self.phases.append((name, total, unit))
        self.done = 0

    def advance(self, amount: int = 1) -> None:
        self.done += amount

    def record(self, row: dict[str, float | int | str]) -> None:
        self.rows.append(row)
