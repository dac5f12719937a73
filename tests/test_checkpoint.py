"""Checkpoints in every layout give the same weights, exactly; damaged, foreign and hostile ones give one clear line."""

import json
import os
import pickle
import shutil
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file, save_file
from transformers import BarkModel, EncodecConfig, EncodecModel

from bark_onnx.sizes import CodecSize, TransformerSize
from bark_onnx.vocabulary import Vocabulary
from bark_onnx_bench.checkpoints import (
    SMALL_VOCABULARY,
    make_bark,
    meta_codec,
    save_huggingface,
    save_suno,
    write_tokenizer,
)
from bark_onnx_export import huggingface
from bark_onnx_export.checkpoint import STAGES, Checkpoint, CheckpointError, Weights, open_checkpoint

State = dict[str, torch.Tensor]


@pytest.fixture(scope="module")
def model() -> BarkModel:
    return make_bark()


@pytest.fixture(scope="module")
def weights(model: BarkModel, tmp_path_factory: pytest.TempPathFactory) -> dict[str, Weights]:
    return load_all(save_huggingface(model, tmp_path_factory.mktemp("reference")))


@pytest.fixture(scope="module")
def suno(model: BarkModel, tmp_path_factory: pytest.TempPathFactory) -> Path:
    return save_suno(model, tmp_path_factory.mktemp("suno"))


@pytest.fixture(scope="module")
def small_model() -> BarkModel:
    return make_bark(vocabulary=SMALL_VOCABULARY)


@pytest.fixture
def small(small_model: BarkModel, tmp_path: Path) -> Path:
    """A Hugging Face checkpoint of a few megabytes, to be spoilt."""
    return save_huggingface(small_model, tmp_path / "small")


def load_all(directory: Path, **options: Any) -> dict[str, Weights]:
    checkpoint = open_checkpoint(str(directory), **options)
    return {stage: checkpoint.load(stage) for stage in STAGES}


def assert_same(loaded: dict[str, Weights], expected: dict[str, Weights]) -> None:
    for stage in STAGES:
        assert loaded[stage].size == expected[stage].size
        assert loaded[stage].tensors.keys() == expected[stage].tensors.keys()
        for name, tensor in loaded[stage].tensors.items():
            assert tensor.dtype is torch.float32
            assert tensor.is_contiguous()
            assert torch.equal(tensor, expected[stage].tensors[name]), name


def error_of(action: Callable[[], object]) -> str:
    with pytest.raises(CheckpointError) as caught:
        action()
    assert "\n" not in str(caught.value)
    return str(caught.value)


def edit_state(directory: Path, edit: Callable[[State], object]) -> None:
    state = load_file(directory / "model.safetensors")
    edit(state)
    save_file(state, directory / "model.safetensors")


def edit_json(path: Path, section: str | None, **values: object) -> None:
    config = json.loads(path.read_text())
    (config[section] if section else config).update(values)
    path.write_text(json.dumps(config))


def edit_suno(path: Path, edit: Callable[[dict[str, Any]], object], **options: Any) -> None:
    checkpoint = torch.load(path, weights_only=False)
    edit(checkpoint)
    torch.save(checkpoint, path, **options)


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


def test_biases_are_kept(tmp_path: Path) -> None:
    model = make_bark(bias=True, layers=1)
    loaded = load_all(save_huggingface(model, tmp_path / "huggingface"))
    assert_same(load_all(save_suno(model, tmp_path / "suno")), loaded)
    for stage in ("semantic", "coarse", "fine"):
        assert {"blocks.0.mlp.up.bias", "blocks.0.norm_1.bias", "norm.bias"} <= loaded[stage].tensors.keys()


def test_sizes(weights: dict[str, Weights]) -> None:
    assert weights["semantic"].size == TransformerSize(2, 2, 32, 1024, 129_600, 10_048)
    assert weights["coarse"].size == TransformerSize(2, 2, 32, 1024, 12_096, 12_096)
    assert weights["fine"].size == TransformerSize(2, 2, 32, 1024, 1056, 1056)
    assert weights["codec"].size == CodecSize(filters=4, width=16)


def test_tensors_are_those_of_the_model(model: BarkModel, weights: dict[str, Weights]) -> None:
    semantic, fine, codec = (weights[stage].tensors for stage in ("semantic", "fine", "codec"))
    block = model.semantic.layers[1]
    assert torch.equal(semantic["token_embedding.weight"], model.semantic.input_embeds_layer.weight)
    assert torch.equal(semantic["head.weight"], model.semantic.lm_head.weight)
    assert torch.equal(semantic["blocks.1.attention.qkv.weight"], block.attn.att_proj.weight)
    assert torch.equal(semantic["blocks.1.mlp.down.weight"], block.mlp.out_proj.weight)
    assert torch.equal(fine["token_embeddings"][3], model.fine_acoustics.lm_heads[2].weight)
    assert torch.equal(codec["codebooks"][7], model.codec_model.quantizer.layers[7].codebook.embed)
    # Weight norm is folded: the parametrized modules compute these themselves. Tolerance: one rounding.
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


def test_defaults_of_the_library_may_be_left_out_of_the_configuration(small: Path) -> None:
    config = json.loads((small / "config.json").read_text())
    for section, name in {"semantic_config": "block_size", "codec_config": "upsampling_ratios"}.items():
        del config[section][name]
    (small / "config.json").write_text(json.dumps(config))
    load_all(small)


# What came with it


def test_what_came_with_the_checkpoint(small: Path) -> None:
    plain = open_checkpoint(str(small))
    assert (plain.source, plain.revision, plain.tokenizer, plain.voices) == ("small", None, None, None)
    tokenizer = write_tokenizer(small)
    (small / "speaker_embeddings").mkdir()
    complete = open_checkpoint(str(small))
    assert complete.tokenizer == tokenizer
    assert complete.voices == small / "speaker_embeddings"
    tokenizer.unlink()
    assert open_checkpoint(str(small)).tokenizer == small / "vocab.txt"


def test_token_space_is_that_of_the_generation_config(small: Path) -> None:
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
        ("fine_acoustics_config", {"n_fine_codebooks": 2}, "impossible token space: 2 coarse codebooks of 2"),
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
        ("codec", None, {"codebook_size": 32}, "[64, 16] instead of [32, 16]"),
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


# Hub


def test_only_what_is_needed_is_downloaded(
    small_model: BarkModel, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    commit = "70a8a7d34168586dc5d028fa9666aceade177992"
    snapshot = save_huggingface(small_model, tmp_path / commit, format="bin")
    asked: list[list[str]] = []

    def snapshot_download(repository: str, allow_patterns: list[str]) -> str:
        assert repository == "suno/bark-small"
        asked.append(allow_patterns)
        return str(snapshot)

    monkeypatch.setattr(huggingface, "snapshot_download", snapshot_download)
    checkpoint = open_checkpoint("suno/bark-small")
    assert (checkpoint.source, checkpoint.revision) == ("suno/bark-small", commit)
    assert ["model.safetensors" in patterns for patterns in asked] == [True, False]  # the other format only if needed
    checkpoint.load("coarse")


def test_no_network_is_one_line(monkeypatch: pytest.MonkeyPatch) -> None:
    def snapshot_download(*_: object, **__: object) -> str:
        raise ConnectionError("many\nlines")

    monkeypatch.setattr(huggingface, "snapshot_download", snapshot_download)
    assert "check the name and the network" in error_of(lambda: open_checkpoint("suno/bark-small"))


@pytest.mark.parametrize("name", ["no-such-directory", "/no/such/directory", "../suno/bark", "models/text.pt"])
def test_neither_directory_nor_repository(name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "models").mkdir()
    (tmp_path / "models/text.pt").touch()
    monkeypatch.chdir(tmp_path)
    assert f"{name} is neither a directory nor a name on the hub" in error_of(lambda: open_checkpoint(name))


# Strictness


def _replace(name: str, change: Callable[[torch.Tensor], torch.Tensor]) -> Callable[[State], object]:
    return lambda state: state.update({name: change(state[name])})


@pytest.mark.parametrize(
    ("stage", "edit", "message"),
    [
        (
            "semantic",
            lambda state: state.pop("semantic.layers.0.layernorm_1.weight"),
            "no semantic.layers.0.layernorm_1.weight",
        ),
        (
            "semantic",
            lambda state: state.update({"semantic.layers.0.mlp.in_proj.bias": torch.zeros(128)}),
            "unexpected semantic.layers.0.mlp.in_proj.bias",
        ),
        ("coarse", lambda state: state.update({"lm_head.weight": torch.zeros(1)}), "unexpected lm_head.weight"),
        ("coarse", lambda state: state.update({"a\n\x1b[2Jb": torch.zeros(1)}), "unexpected a??[2Jb"),
        (
            "coarse",
            _replace("coarse_acoustics.lm_head.weight", lambda head: head[:-1].clone()),
            "coarse_acoustics.lm_head.weight is [255, 32] instead of [256, 32]",
        ),
        ("coarse", _replace("coarse_acoustics.lm_head.weight", torch.Tensor.long), "int64, not floating point"),
        ("coarse", _replace("coarse_acoustics.lm_head.weight", lambda head: head * torch.inf), "NaN or infinity"),
        (
            "fine",
            lambda state: state.update({"fine_acoustics.lm_heads.7.weight": torch.zeros(96, 32)}),
            "unexpected fine_acoustics.lm_heads.7.weight",
        ),
        (
            "fine",
            lambda state: state.update({"fine_acoustics.lm_heads.2.weight": torch.zeros(96, 32)}),
            "heads that are not its embeddings (fine_acoustics.lm_heads.2.weight)",
        ),
        (
            "codec",
            lambda state: state.pop("codec_model.quantizer.layers.7.codebook.embed"),
            "no codec_model.quantizer.layers.7.codebook.embed",
        ),
        (
            "codec",
            _replace("codec_model.decoder.layers.3.conv.parametrizations.weight.original1", torch.zeros_like),
            "zeros throughout codec_model.decoder.layers.3.conv.parametrizations.weight.original1",
        ),
    ],
)
def test_unfit_tensors_are_named(small: Path, stage: str, edit: Callable[[State], object], message: str) -> None:
    edit_state(small, edit)
    checkpoint = open_checkpoint(str(small))
    assert message in error_of(lambda: checkpoint.load(stage))


def test_all_problems_are_named_at_once(small: Path) -> None:
    def edit(state: State) -> None:
        del state["semantic.lm_head.weight"]
        state["semantic.extra"] = torch.zeros(1)
        state["semantic.layernorm_final.weight"] = torch.zeros(31)

    edit_state(small, edit)
    message = error_of(lambda: open_checkpoint(str(small)).load("semantic"))
    assert "no semantic.lm_head.weight; unexpected semantic.extra; semantic.layernorm_final.weight is [31]" in message


def test_a_long_list_of_problems_is_cut(small: Path) -> None:
    edit_state(small, lambda state: state.update({f"semantic.extra.{n}": torch.zeros(1) for n in range(25)}))
    message = error_of(lambda: open_checkpoint(str(small)).load("semantic"))
    assert message.count("unexpected") == 10
    assert "and 15 more" in message


def test_tied_heads_may_be_there(small: Path, small_model: BarkModel) -> None:
    head = small_model.fine_acoustics.lm_heads[2].weight.clone()
    edit_state(small, lambda state: state.update({"fine_acoustics.lm_heads.2.weight": head}))
    open_checkpoint(str(small)).load("fine")


@pytest.mark.parametrize(
    ("stage", "section", "values", "message"),
    [
        ("semantic", "semantic_config", {"num_layers": 3}, "no semantic.layers.2.layernorm_1.weight"),
        ("semantic", "semantic_config", {"hidden_size": 64}, "[902, 32] instead of [902, 64]"),
        ("semantic", "semantic_config", {"num_layers": 10**9}, "not a number from 1 to 128"),
        ("semantic", "semantic_config", {"num_heads": 0}, "num_heads in semantic_config of config.json is 0"),
        ("semantic", "semantic_config", {"num_heads": 3}, "a width of 32 among 3 heads"),
        ("semantic", "semantic_config", {"hidden_size": "32"}, "hidden_size in semantic_config of config.json is '32'"),
        ("semantic", "semantic_config", {"bias": 1}, "bias in semantic_config of config.json is 1, not true or false"),
        ("semantic", None, {"semantic_config": []}, "semantic_config in config.json is [], not an object"),
        ("fine", "fine_acoustics_config", {"n_codes_given": 2}, "n_codes_given is 2 instead of 1"),
        ("fine", "fine_acoustics_config", {"n_codes_total": 9}, "no fine_acoustics.input_embeds_layers.8.weight"),
        ("fine", "fine_acoustics_config", {"output_vocab_size": 90}, "96 input and 90 output ids"),
        ("codec", "codec_config", {"model_type": "dac"}, "model_type is 'dac' instead of 'encodec'"),
        ("codec", "codec_config", {"norm_type": "time_group_norm"}, "norm_type is 'time_group_norm'"),
        ("codec", "codec_config", {"use_causal_conv": False, "audio_channels": 2}, "audio_channels is 2 instead of 1"),
        ("codec", "codec_config", {"use_causal_conv": False}, "use_causal_conv is False instead of True"),
        ("codec", "codec_config", {"trim_right_ratio": 0.5}, "trim_right_ratio is 0.5 instead of 1.0"),
        ("codec", "codec_config", {"pad_mode": "constant"}, "pad_mode is 'constant' instead of 'reflect'"),
        ("codec", "codec_config", {"sampling_rate": 48_000}, "sampling_rate is 48000 instead of 24000"),
        ("codec", "codec_config", {"upsampling_ratios": [8, 5.0, 4, 2]}, "upsampling_ratios"),
        ("codec", "codec_config", {"upsampling_ratios": [2, 4, 5, 8]}, "[64, 32, 16] instead of [64, 32, 4]"),
        ("codec", "codec_config", {"use_conv_shortcut": False}, "unexpected codec_model.decoder.layers.4.shortcut"),
    ],
)
def test_configurations_are_checked(
    small: Path, stage: str, section: str | None, values: dict[str, object], message: str
) -> None:
    edit_json(small / "config.json", section, **values)
    checkpoint = open_checkpoint(str(small))
    assert message in error_of(lambda: checkpoint.load(stage))


def test_another_kind_of_model_is_refused(small: Path) -> None:
    edit_json(small / "config.json", None, model_type="gpt2")
    assert "model_type is 'gpt2' instead of 'bark'" in error_of(lambda: open_checkpoint(str(small)))


# Damaged and hostile files


@pytest.mark.parametrize("text", [b"{", b"[1]", b"\xff\xfe", b"[" * 100_000])
@pytest.mark.parametrize("name", ["config.json", "generation_config.json"])
def test_broken_json(small: Path, name: str, text: bytes) -> None:
    (small / name).write_bytes(text)
    assert name in error_of(lambda: open_checkpoint(str(small)))


@pytest.mark.parametrize("format", ["safetensors", "bin"])
@pytest.mark.parametrize("kept", [0, 5, 1000, 500_000])
def test_truncated_weights(small_model: BarkModel, tmp_path: Path, format: Any, kept: int) -> None:
    directory = save_huggingface(small_model, tmp_path, format=format)
    path = directory / {"safetensors": "model.safetensors", "bin": "pytorch_model.bin"}[format]
    os.truncate(path, kept)
    checkpoint = open_checkpoint(str(directory))
    assert path.name in error_of(lambda: checkpoint.load("semantic"))


def test_no_weights(small: Path) -> None:
    (small / "model.safetensors").unlink()
    assert "neither model.safetensors nor pytorch_model.bin" in error_of(lambda: open_checkpoint(str(small)))


def test_nothing_there(tmp_path: Path) -> None:
    assert "neither a Hugging Face model" in error_of(lambda: open_checkpoint(str(tmp_path)))


def test_missing_shard(small_model: BarkModel, tmp_path: Path) -> None:
    directory = save_huggingface(small_model, tmp_path, format="sharded bin")
    (directory / "pytorch_model-00002-of-00002.bin").unlink()
    assert "pytorch_model-00002-of-00002.bin is missing" in error_of(lambda: open_checkpoint(str(directory)))


@pytest.mark.parametrize(
    "shard", ["../outside.bin", "/outside.bin", "a/outside.bin", "..\\outside.bin", "..", "", "x.py"]
)
def test_shards_elsewhere_are_refused(small_model: BarkModel, tmp_path: Path, shard: str) -> None:
    directory = save_huggingface(small_model, tmp_path / "bark", format="sharded bin")
    torch.save({}, tmp_path / "outside.bin")
    edit_json(directory / "pytorch_model.bin.index.json", "weight_map", **{"semantic.lm_head.weight": shard})
    assert "refused" in error_of(lambda: open_checkpoint(str(directory)))


@pytest.mark.parametrize("weight_map", [None, {}, [], {"semantic.lm_head.weight": 3}])
def test_index_without_files(small: Path, weight_map: object) -> None:
    (small / "model.safetensors").rename(small / "model-00001-of-00001.safetensors")
    (small / "model.safetensors.index.json").write_text(json.dumps({"weight_map": weight_map}))
    assert "no weight_map" in error_of(lambda: open_checkpoint(str(small)))


class Attack:
    def __init__(self, mark: Path) -> None:
        self.mark = mark

    def __reduce__(self) -> tuple[Callable[[str], object], tuple[str]]:
        return os.mkdir, (str(self.mark),)


@pytest.mark.parametrize("name", ["pytorch_model.bin", "text.pt", "encodec.th"])
@pytest.mark.parametrize("form", ["zip", "legacy", "pickle 2", "pickle 4"])
def test_pickles_with_code_are_refused_and_not_run(
    small_model: BarkModel, suno: Path, tmp_path: Path, name: str, form: str
) -> None:
    directory, mark = tmp_path / "bark", tmp_path / "executed"
    if name == "pytorch_model.bin":
        save_huggingface(small_model, directory, format="bin")
    else:
        shutil.copytree(suno, directory)
        (directory / "encodec_24khz-test.th").rename(directory / "encodec.th")
    value = {"model_args": {}, "model": {"weight": torch.zeros(1)}, "attack": Attack(mark)}
    if form.startswith("pickle"):
        (directory / name).write_bytes(pickle.dumps(Attack(mark), protocol=int(form[-1])))
    else:
        torch.save(value, directory / name, _use_new_zipfile_serialization=form == "zip")
    checkpoint = open_checkpoint(str(directory))
    message = error_of(lambda: checkpoint.load("codec" if name == "encodec.th" else "semantic"))
    assert f"{name} was refused" in message
    assert not mark.exists()


def test_tensors_larger_than_their_bytes_are_refused(small_model: BarkModel, tmp_path: Path) -> None:
    directory = save_huggingface(small_model, tmp_path, format="bin")
    state = torch.load(directory / "pytorch_model.bin")
    state["semantic.lm_head.weight"] = torch.zeros(1).expand_as(state["semantic.lm_head.weight"])
    torch.save(state, directory / "pytorch_model.bin")
    message = error_of(lambda: open_checkpoint(str(directory)).load("semantic"))
    assert "semantic.lm_head.weight is not a plain tensor" in message


@pytest.mark.parametrize("value", [[1, 2], {"semantic.lm_head.weight": "text"}, {1: torch.zeros(1)}, torch.zeros(2)])
def test_what_is_no_state_dict(small_model: BarkModel, tmp_path: Path, value: object) -> None:
    directory = save_huggingface(small_model, tmp_path, format="bin")
    torch.save(value, directory / "pytorch_model.bin")
    assert "does not hold a state dict" in error_of(lambda: open_checkpoint(str(directory)).load("semantic"))


# Suno's files


def test_a_directory_with_both_sizes_needs_a_choice(weights: dict[str, Weights], suno: Path, tmp_path: Path) -> None:
    for name in ("text", "coarse", "fine"):
        shutil.copy(suno / f"{name}.pt", tmp_path / f"{name}.pt")
        (tmp_path / f"{name}_2.pt").write_bytes(b"not looked at")
    shutil.copy(suno / "encodec_24khz-test.th", tmp_path)
    assert "choose with --model-size" in error_of(lambda: open_checkpoint(str(tmp_path)))
    assert_same(load_all(tmp_path, model_size="small"), weights)


def test_missing_files(suno: Path, tmp_path: Path) -> None:
    shutil.copy(suno / "text.pt", tmp_path)
    assert "lacks coarse.pt, fine.pt" in error_of(lambda: open_checkpoint(str(tmp_path)))
    assert "lacks text_2.pt" in error_of(lambda: open_checkpoint(str(suno), model_size="large"))


def test_files_are_read_one_network_at_a_time(suno: Path, tmp_path: Path) -> None:
    directory = Path(shutil.copytree(suno, tmp_path / "suno"))
    (directory / "fine.pt").write_bytes(b"damaged")
    checkpoint = open_checkpoint(str(directory))
    checkpoint.load("coarse")
    assert "fine.pt" in error_of(lambda: checkpoint.load("fine"))


def test_files_of_older_torch_and_numpy(weights: dict[str, Weights], suno: Path, tmp_path: Path) -> None:
    directory = Path(shutil.copytree(suno, tmp_path / "suno"))
    edit_suno(directory / "coarse.pt", lambda _: None, _use_new_zipfile_serialization=False)
    # The published files hold numpy scalars under the name that numpy 1 gave them.
    with zipfile.ZipFile(suno / "fine.pt") as new, zipfile.ZipFile(directory / "fine.pt", "w") as old:
        for name in new.namelist():
            old.writestr(name, new.read(name).replace(b"numpy._core.multiarray", b"numpy.core.multiarray"))
    assert_same(load_all(directory), weights)


def test_files_that_were_compressed(weights: dict[str, Weights], suno: Path, tmp_path: Path) -> None:
    directory = Path(shutil.copytree(suno, tmp_path / "suno"))
    with (
        zipfile.ZipFile(suno / "fine.pt") as stored,
        zipfile.ZipFile(directory / "fine.pt", "w", zipfile.ZIP_DEFLATED) as deflated,
    ):
        for name in stored.namelist():
            deflated.writestr(name, stored.read(name))
    assert_same(load_all(directory), weights)


@pytest.mark.parametrize(
    ("name", "edit", "message"),
    [
        ("text", lambda checkpoint: checkpoint.pop("model_args"), "text.pt is not Suno's"),
        ("text", lambda checkpoint: checkpoint.update(model=[]), "text.pt does not hold a state dict"),
        ("text", lambda checkpoint: checkpoint["model_args"].update(n_layer=500), "n_layer in model_args of text.pt"),
        ("text", lambda checkpoint: checkpoint["model_args"].update(n_head=5), "a width of 32 among 5 heads"),
        (
            "coarse",
            lambda checkpoint: checkpoint["model"].pop("_orig_mod.transformer.h.1.ln_2.weight"),
            "no transformer.h.1.ln_2.weight",
        ),
        (
            "fine",
            lambda checkpoint: checkpoint["model"].update({"lm_heads.0.weight": torch.zeros(1056, 32)}),
            "heads that are not its embeddings (lm_heads.0.weight)",
        ),
    ],
)
def test_suno_files_are_checked(
    suno: Path, tmp_path: Path, name: str, edit: Callable[[dict[str, Any]], object], message: str
) -> None:
    directory = Path(shutil.copytree(suno, tmp_path / "suno"))
    edit_suno(directory / f"{name}.pt", edit)
    checkpoint = open_checkpoint(str(directory))
    assert message in error_of(lambda: checkpoint.load({"text": "semantic"}.get(name, name)))


# The codec from elsewhere


def same_codec(checkpoint: Checkpoint, expected: dict[str, Weights]) -> bool:
    found, wanted = checkpoint.load("codec"), expected["codec"]
    return found.size == wanted.size and all(torch.equal(found.tensors[n], t) for n, t in wanted.tensors.items())


def test_codec_of_suno(weights: dict[str, Weights], suno: Path, tmp_path: Path) -> None:
    directory = Path(shutil.copytree(suno, tmp_path / "suno"))
    own = directory / "encodec_24khz-test.th"
    other = own.rename(tmp_path / "codec.pt")
    assert "holds 0 EnCodec files" in error_of(lambda: open_checkpoint(str(directory)))
    assert "no codec at" in error_of(lambda: open_checkpoint(str(directory), codec=own))
    assert same_codec(open_checkpoint(str(directory), codec=other), weights)
    for name in ("encodec_1.th", "encodec_2.th"):
        shutil.copy(other, directory / name)
    assert "holds 2 EnCodec files (encodec*.th): say which with --codec FILE" in error_of(
        lambda: open_checkpoint(str(directory))
    )


@pytest.mark.parametrize("wrapping", ["best_state", "model"])
def test_codec_for_a_hugging_face_model(
    model: BarkModel, weights: dict[str, Weights], tmp_path: Path, wrapping: str
) -> None:
    directory = save_huggingface(model, tmp_path / "bark")
    edit_state(directory, lambda state: state.pop("codec_model.decoder.layers.0.conv.bias"))
    torch.save({wrapping: meta_codec(model)}, tmp_path / "codec.th")
    assert same_codec(open_checkpoint(str(directory), codec=tmp_path / "codec.th"), weights)


def test_codec_of_a_hugging_face_directory(
    model: BarkModel, weights: dict[str, Weights], suno: Path, tmp_path: Path
) -> None:
    model.codec_model.save_pretrained(tmp_path)
    assert same_codec(open_checkpoint(str(suno), codec=tmp_path), weights)


def test_the_48_khz_codec_is_refused(suno: Path, tmp_path: Path) -> None:
    config = EncodecConfig(
        audio_channels=2,
        sampling_rate=48_000,
        norm_type="time_group_norm",
        use_causal_conv=False,
        num_filters=4,
        hidden_size=16,
    )
    codec = EncodecModel(config)
    codec.save_pretrained(tmp_path / "encodec_48khz")
    checkpoint = open_checkpoint(str(suno), codec=tmp_path / "encodec_48khz")
    message = error_of(lambda: checkpoint.load("codec"))
    assert all(name in message for name in ("audio_channels", "sampling_rate", "norm_type", "use_causal_conv"))
    torch.save(codec.state_dict(), tmp_path / "encodec_48khz.th")
    checkpoint = open_checkpoint(str(suno), codec=tmp_path / "encodec_48khz.th")
    assert "not the causal 24 kHz EnCodec" in error_of(lambda: checkpoint.load("codec"))


@pytest.mark.parametrize(
    ("edit", "message"),
    [
        (lambda state: state.pop("decoder.model.3.convtr.convtr.bias"), "no decoder.model.3.convtr.convtr.bias"),
        (lambda state: state.pop("decoder.model.1.lstm.bias_hh_l1"), "no decoder.model.1.lstm.bias_hh_l1"),
        (lambda state: state.update({"decoder.model.99.weight": torch.zeros(1)}), "unexpected decoder.model.99.weight"),
        (
            _replace("decoder.model.15.conv.conv.weight_v", lambda v: v.repeat(2, 1, 1)),
            "[2, 4, 7] instead of [1, 4, 7]",
        ),
        (_replace("decoder.model.0.conv.conv.weight_v", lambda v: v[0]), "not the causal 24 kHz EnCodec"),
        (_replace("decoder.model.4.block.1.conv.conv.weight_v", lambda v: v[:0]), "not the causal 24 kHz EnCodec"),
        (lambda state: state.clear(), "not the causal 24 kHz EnCodec"),
    ],
)
def test_codec_files_are_checked(
    model: BarkModel, suno: Path, tmp_path: Path, edit: Callable[[State], object], message: str
) -> None:
    state = meta_codec(model)
    edit(state)
    torch.save(state, tmp_path / "codec.th")
    checkpoint = open_checkpoint(str(suno), codec=tmp_path / "codec.th")
    assert message in error_of(lambda: checkpoint.load("codec"))
