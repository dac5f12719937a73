"""Tensors and configurations that do not fit Bark are errors. One line names every problem."""

from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from transformers import BarkModel

from bark_onnx_export.checkpoint import open_checkpoint
from checkpoint_files import State, edit_json, edit_state, error_of, replace_tensor
from checkpoint_files import small as small
from checkpoint_files import small_model as small_model


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
            replace_tensor("coarse_acoustics.lm_head.weight", lambda head: head[:-1].clone()),
            "coarse_acoustics.lm_head.weight is [255, 16] instead of [256, 16]",
        ),
        ("coarse", replace_tensor("coarse_acoustics.lm_head.weight", torch.Tensor.long), "int64, not floating point"),
        ("coarse", replace_tensor("coarse_acoustics.lm_head.weight", lambda head: head * torch.inf), "NaN or infinity"),
        (
            "fine",
            lambda state: state.update({"fine_acoustics.lm_heads.7.weight": torch.zeros(96, 16)}),
            "unexpected fine_acoustics.lm_heads.7.weight",
        ),
        (
            "fine",
            lambda state: state.update({"fine_acoustics.lm_heads.2.weight": torch.zeros(96, 16)}),
            "heads that are not its embeddings (fine_acoustics.lm_heads.2.weight)",
        ),
        (
            "codec",
            lambda state: state.pop("codec_model.quantizer.layers.7.codebook.embed"),
            "no codec_model.quantizer.layers.7.codebook.embed",
        ),
        (
            "codec",
            replace_tensor("codec_model.decoder.layers.3.conv.parametrizations.weight.original1", torch.zeros_like),
            "zeros throughout codec_model.decoder.layers.3.conv.parametrizations.weight.original1",
        ),
    ],
)
def test_unfit_tensors_are_named(small: Path, stage: str, edit: Callable[[State], object], message: str) -> None:
    edit_state(small, edit)
    checkpoint = open_checkpoint(str(small))
    assert message in error_of(lambda: checkpoint.load(stage))


def test_one_error_names_all_problems(small: Path) -> None:
    def edit(state: State) -> None:
        del state["semantic.lm_head.weight"]
        state["semantic.extra"] = torch.zeros(1)
        state["semantic.layernorm_final.weight"] = torch.zeros(31)

    edit_state(small, edit)
    message = error_of(lambda: open_checkpoint(str(small)).load("semantic"))
    assert "no semantic.lm_head.weight; unexpected semantic.extra; semantic.layernorm_final.weight is [31]" in message


def test_a_long_list_of_problems_is_shortened(small: Path) -> None:
    edit_state(small, lambda state: state.update({f"semantic.extra.{n}": torch.zeros(1) for n in range(25)}))
    message = error_of(lambda: open_checkpoint(str(small)).load("semantic"))
    assert message.count("unexpected") == 10
    assert "and 15 more" in message


def test_tied_heads_may_be_in_the_file(small: Path, small_model: BarkModel) -> None:
    head = small_model.fine_acoustics.lm_heads[2].weight.clone()
    edit_state(small, lambda state: state.update({"fine_acoustics.lm_heads.2.weight": head}))
    open_checkpoint(str(small)).load("fine")


@pytest.mark.parametrize(
    ("stage", "section", "values", "message"),
    [
        ("semantic", "semantic_config", {"num_layers": 3}, "no semantic.layers.2.layernorm_1.weight"),
        ("semantic", "semantic_config", {"hidden_size": 64}, "[902, 16] instead of [902, 64]"),
        ("semantic", "semantic_config", {"num_layers": 10**9}, "not a number from 1 to 128"),
        ("semantic", "semantic_config", {"num_heads": 0}, "num_heads in semantic_config of config.json is 0"),
        ("semantic", "semantic_config", {"num_heads": 3}, "a width of 16 among 3 heads"),
        ("semantic", "semantic_config", {"hidden_size": "16"}, "hidden_size in semantic_config of config.json is '16'"),
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
        ("codec", "codec_config", {"upsampling_ratios": [2, 4, 5, 8]}, "[32, 16, 16] instead of [32, 16, 4]"),
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
