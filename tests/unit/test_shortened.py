"""The first layers of a model alone: which weights stay, that they are saved as such, and what is refused."""

from __future__ import annotations

from pathlib import Path
from types import SimpleNamespace

import pytest
import torch

from harness.errors import ConfigError
from harness.lm.backbone import load
from harness.lm.shortened import shorten
from tests.lm_models import tiny_folder


def test_the_first_layers_compute_what_they_compute_in_the_whole_model(tmp_path: Path) -> None:
    name = tiny_folder(tmp_path)
    whole, first = load(name).model, load(f"{name}#layers=1").model
    assert (len(whole.model.layers), len(first.model.layers)) == (2, 1)
    tokens = torch.tensor([[5, 9, 70, 3]])
    with torch.inference_mode():
        states = whole(tokens, output_hidden_states=True).hidden_states
        expected = whole.lm_head(whole.model.norm(states[1]))
        torch.testing.assert_close(first(tokens).logits, expected)
        assert not torch.allclose(whole(tokens).logits, expected)


def test_what_is_saved_is_a_model_of_so_many_layers(tmp_path: Path) -> None:
    first = load(f"{tiny_folder(tmp_path)}#layers=1")
    (tmp_path / "saved").mkdir()
    first.save(tmp_path / "saved")
    again = load(str(tmp_path / "saved"))
    assert again.model.config.num_hidden_layers == 1
    assert again.parameter_bytes == first.parameter_bytes < load(str(tmp_path)).parameter_bytes


@pytest.mark.parametrize("layers", [0, 3])
def test_a_number_of_layers_there_are_not_is_refused(layers: int, tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="1 to those of a decoder-only model"):
        load(f"{tiny_folder(tmp_path)}#layers={layers}")


def test_layers_of_an_encoder_and_a_decoder_are_not_told_apart() -> None:
    with pytest.raises(ConfigError, match="encoder and decoder"):
        shorten(SimpleNamespace(num_hidden_layers=2, is_encoder_decoder=True), 1, "t5#layers=1")


def test_kinds_of_layers_are_cut_with_them() -> None:
    kinds = ["sliding_attention", "full_attention", "full_attention"]
    config = SimpleNamespace(num_hidden_layers=3, is_encoder_decoder=False, layer_types=kinds)
    shorten(config, 2, "qwen#layers=2")
    assert (config.num_hidden_layers, config.layer_types) == (2, kinds[:2])
