"""Checkpoints in every layout give exactly the same weights, the token space, and paths of tokenizer and voices."""

import json
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file
from transformers import BarkModel

from bark_onnx.model.sizes import CodecSize, TransformerSize
from bark_onnx.model.vocabulary import Vocabulary
from bark_onnx_bench.checkpoints import SMALL_VOCABULARY, make_bark, save_huggingface, save_suno, write_tokenizer
from bark_onnx_export.checkpoint import open_checkpoint
from bark_onnx_export.weights.weights import Weights
from checkpoint_files import assert_same, edit_json, edit_state, error_of, load_all
from checkpoint_files import small as small
from checkpoint_files import small_model as small_model
from checkpoint_files import weights as weights

# Layouts


@pytest.mark.parametrize("weight_norm", ["parametrizations", "hooks"])
@pytest.mark.parametrize("format", ["safetensors", "sharded", "bin", "sharded bin"])
def test_every_hugging_face_format_gives_the_same_weights(
    model: BarkModel, weights: dict[str, Weights], tmp_path: Path, format: Any, weight_norm: Any
) -> None:
    directory = save_huggingface(model, tmp_path, format=format, weight_norm=weight_norm)
    assert_same(load_all(directory), weights)


@pytest.mark.parametrize("size", ["small", "large"])
@pytest.mark.parametrize("prefix", ["", "_orig_mod."])
def test_suno_files_give_the_same_weights(
    model: BarkModel, weights: dict[str, Weights], tmp_path: Path, size: Any, prefix: Any
) -> None:
    directory = save_suno(model, tmp_path, size=size, prefix=prefix, vocab_size_only=size == "small")
    assert_same(load_all(directory), weights)


def test_biases_are_read(tmp_path: Path) -> None:
    model = make_bark(bias=True, layers=1)
    loaded = load_all(save_huggingface(model, tmp_path / "huggingface"))
    assert_same(load_all(save_suno(model, tmp_path / "suno")), loaded)
    for stage in ("semantic", "coarse", "fine"):
        assert {"blocks.0.mlp.up.bias", "blocks.0.norm_1.bias", "norm.bias"} <= loaded[stage].tensors.keys()


def test_sizes_are_read(weights: dict[str, Weights]) -> None:
    assert weights["semantic"].size == TransformerSize(2, 2, 32, 1024, 129_600, 10_048)
    assert weights["coarse"].size == TransformerSize(2, 2, 32, 1024, 12_096, 12_096)
    assert weights["fine"].size == TransformerSize(2, 2, 32, 1024, 1056, 1056)
    assert weights["codec"].size == CodecSize(filters=4, width=16)


def test_tensors_equal_the_models(model: BarkModel, weights: dict[str, Weights]) -> None:
    semantic, fine, codec = (weights[stage].tensors for stage in ("semantic", "fine", "codec"))
    block = model.semantic.layers[1]
    assert torch.equal(semantic["token_embedding.weight"], model.semantic.input_embeds_layer.weight)
    assert torch.equal(semantic["head.weight"], model.semantic.lm_head.weight)
    assert torch.equal(semantic["blocks.1.attention.qkv.weight"], block.attn.att_proj.weight)
    assert torch.equal(semantic["blocks.1.mlp.down.weight"], block.mlp.out_proj.weight)
    assert torch.equal(fine["token_embeddings"][3], model.fine_acoustics.lm_heads[2].weight)
    assert torch.equal(codec["codebooks"][7], model.codec_model.quantizer.layers[7].codebook.embed)
    # Weight norm is folded into our weights; the model's modules compute the same. Tolerance: one rounding.
    decoder = model.codec_model.decoder.layers
    torch.testing.assert_close(codec["stem.weight"], decoder[0].conv.weight, rtol=1e-6, atol=0)
    torch.testing.assert_close(codec["stages.1.upsample.weight"], decoder[6].conv.weight, rtol=1e-6, atol=0)
    torch.testing.assert_close(
        codec["stages.3.residuals.0.conv_1.weight"], decoder[13].block[1].conv.weight, rtol=1e-6, atol=0
    )


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16, torch.float64])
def test_other_floating_types_become_float32(small: Path, dtype: torch.dtype) -> None:
    name = "coarse_acoustics.lm_head.weight"
    edit_state(small, lambda state: state.update({name: state[name].to(dtype)}))
    head = open_checkpoint(str(small)).load("coarse").tensors["head.weight"]
    assert torch.equal(head, load_file(small / "model.safetensors")[name].float())


def test_a_configuration_may_leave_out_default_values(small: Path) -> None:
    config = json.loads((small / "config.json").read_text())
    for section, name in {"semantic_config": "block_size", "codec_config": "upsampling_ratios"}.items():
        del config[section][name]
    (small / "config.json").write_text(json.dumps(config))
    load_all(small)


# Tokenizer, voices and token space


def test_the_tokenizer_and_the_voices_of_a_checkpoint_are_found(small: Path) -> None:
    plain = open_checkpoint(str(small))
    assert (plain.source, plain.revision, plain.tokenizer, plain.voices) == ("small", None, None, None)
    tokenizer = write_tokenizer(small)
    (small / "speaker_embeddings").mkdir()
    complete = open_checkpoint(str(small))
    assert complete.tokenizer == tokenizer
    assert complete.voices == small / "speaker_embeddings"
    tokenizer.unlink()
    assert open_checkpoint(str(small)).tokenizer == small / "vocab.txt"


def test_the_token_space_is_read_from_the_generation_config(small: Path) -> None:
    assert open_checkpoint(str(small)).vocabulary == SMALL_VOCABULARY
    edit_json(small / "generation_config.json", "semantic_config", semantic_rate_hz=50, max_new_tokens=None)
    edit_json(small / "generation_config.json", "coarse_acoustics_config", max_coarse_history=600)
    vocabulary = open_checkpoint(str(small)).vocabulary
    assert (vocabulary.semantic_rate, vocabulary.max_coarse_history) == (50, 600)
    (small / "generation_config.json").unlink()
    assert open_checkpoint(str(small)).vocabulary == Vocabulary()


@pytest.mark.parametrize(
    ("section", "values", "message"),
    [
        ("semantic_config", {"text_pad_token": 900.5}, "text_pad_token in semantic_config of generation_config.json"),
        ("coarse_acoustics_config", {"n_coarse_codebooks": True}, "n_coarse_codebooks"),
        ("fine_acoustics_config", {"n_fine_codebooks": 2}, "impossible vocabulary: 2 coarse codebooks of 2"),
        (None, {"sample_rate": -1}, "sample_rate is -1"),
        (None, {"semantic_config": 7}, "semantic_config in generation_config.json is 7, not an object"),
    ],
)
def test_impossible_token_spaces_are_refused(
    small: Path, section: str | None, values: dict[str, object], message: str
) -> None:
    edit_json(small / "generation_config.json", section, **values)
    assert message in error_of(lambda: open_checkpoint(str(small)))


@pytest.mark.parametrize(
    ("stage", "section", "values", "message"),
    [
        ("semantic", "semantic_config", {"semantic_infer_token": 5000}, "input_vocabulary is 902 where 5001 is needed"),
        ("semantic", "semantic_config", {"max_new_tokens": 800}, "context is 1024 where 1056 is needed"),
        ("coarse", "coarse_acoustics_config", {"coarse_infer_token": 999}, "input_vocabulary is 256"),
        ("fine", "fine_acoustics_config", {"n_fine_codebooks": 7}, "8 codebooks instead of 7"),
        ("codec", None, {"codebook_size": 32}, "[64, 8] instead of [32, 8]"),
        ("codec", "coarse_acoustics_config", {"coarse_rate_hz": 50}, "320 samples in a frame instead of 480"),
    ],
)
def test_networks_too_small_for_the_token_space_are_refused(
    small: Path, stage: str, section: str | None, values: dict[str, object], message: str
) -> None:
    edit_json(small / "config.json", "codec_config", codebook_size=values.get("codebook_size", 64))
    edit_json(small / "generation_config.json", section, **values)
    checkpoint = open_checkpoint(str(small))
    assert message in error_of(lambda: checkpoint.load(stage))


# Names


@pytest.mark.parametrize("name", ["no-such-directory", "/no/such/directory", "../suno/bark", "models/text.pt"])
def test_a_name_that_is_neither_a_directory_nor_a_repository_is_an_error(
    name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "models").mkdir()
    (tmp_path / "models/text.pt").touch()
    monkeypatch.chdir(tmp_path)
    assert f"{name} is neither a directory nor a name on the hub" in error_of(lambda: open_checkpoint(name))
