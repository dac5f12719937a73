"""A codec from another place than the checkpoint: every layout gives the same weights; other codecs are errors."""

import shutil
from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from transformers import BarkModel, EncodecConfig, EncodecModel

from bark_onnx_bench.checkpoints import save_huggingface
from bark_onnx_bench.checkpoints.suno import meta_codec
from bark_onnx_export.checkpoint import Checkpoint, open_checkpoint
from bark_onnx_export.weights.weights import Weights
from checkpoint_files import State, edit_state, error_of, replace_tensor
from checkpoint_files import suno as suno
from checkpoint_files import weights as weights


def is_same_codec(checkpoint: Checkpoint, expected: dict[str, Weights]) -> bool:
    found, wanted = checkpoint.load("codec"), expected["codec"]
    return found.size == wanted.size and all(torch.equal(found.tensors[n], t) for n, t in wanted.tensors.items())


def test_a_codec_file_beside_suno_s_files_or_elsewhere(weights: dict[str, Weights], suno: Path, tmp_path: Path) -> None:
    directory = Path(shutil.copytree(suno, tmp_path / "suno"))
    own = directory / "encodec_24khz-test.th"
    other = own.rename(tmp_path / "codec.pt")
    assert "has no EnCodec file (encodec*.th)" in error_of(lambda: open_checkpoint(str(directory)))
    assert "no codec at" in error_of(lambda: open_checkpoint(str(directory), codec=own))
    assert is_same_codec(open_checkpoint(str(directory), codec=other), weights)
    for name in ("encodec_1.th", "encodec_2.th"):
        shutil.copy(other, directory / name)
    assert "holds 2 EnCodec files (encodec*.th): choose with --codec" in error_of(
        lambda: open_checkpoint(str(directory))
    )


@pytest.mark.parametrize("wrapping", ["best_state", "model"])
def test_a_codec_in_meta_s_layout_for_a_hugging_face_checkpoint(
    model: BarkModel, weights: dict[str, Weights], tmp_path: Path, wrapping: str
) -> None:
    directory = save_huggingface(model, tmp_path / "bark")
    edit_state(directory, lambda state: state.pop("codec_model.decoder.layers.0.conv.bias"))
    torch.save({wrapping: meta_codec(model)}, tmp_path / "codec.th")
    assert is_same_codec(open_checkpoint(str(directory), codec=tmp_path / "codec.th"), weights)


def test_a_codec_in_hugging_face_s_layout_for_suno_s_files(
    model: BarkModel, weights: dict[str, Weights], suno: Path, tmp_path: Path
) -> None:
    model.codec_model.save_pretrained(tmp_path)
    assert is_same_codec(open_checkpoint(str(suno), codec=tmp_path), weights)


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
            replace_tensor("decoder.model.15.conv.conv.weight_v", lambda v: v.repeat(2, 1, 1)),
            "[2, 4, 7] instead of [1, 4, 7]",
        ),
        (replace_tensor("decoder.model.0.conv.conv.weight_v", lambda v: v[0]), "not the causal 24 kHz EnCodec"),
        (
            replace_tensor("decoder.model.4.block.1.conv.conv.weight_v", lambda v: v[:0]),
            "not the causal 24 kHz EnCodec",
        ),
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
