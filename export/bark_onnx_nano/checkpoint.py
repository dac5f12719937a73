"""The trained networks as a checkpoint in Hugging Face's layout: fp16 safetensors, configurations, tokenizer, voices.

It holds what speaking needs: EnCodec's decoder and codebooks, and no encoder, since the codes were never made by one.
The codebooks that did make them, out of log-mel frames, are in a file of their own.
"""

import json
import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import cast

import torch
from safetensors.torch import save_file
from torch import Tensor

from bark_onnx.model.sizes import TransformerSize
from bark_onnx_export.modules.codec import CodecModule, Residual, Stage
from bark_onnx_export.weights.transformer import HUGGING_FACE

from . import codebooks, codec, spelling
from .codes import Tokens
from .training import load
from .transformer import SIZES, Causal, Fine, build, checkpoint_tensors
from .units import VOCABULARY, VOICES

SECTIONS = {"semantic": "semantic", "coarse": "coarse_acoustics", "fine": "fine_acoustics"}
# Logits are multiplied by these: sampling at the usual temperatures of 0.7, 0.7 and 0.5 is sampling at 0.23, 0.29 and
# 0.17. A model this small makes up words at 0.7, and the codec was trained on the fine model's most probable codes. The
# most probable token stays the same.
SHARPER = {"semantic": 3.0, "coarse": 2.4, "fine": 3.0}
VOICE_NAMES = {"slt": "en_female", "rms": "en_male"}
_V = VOCABULARY


def write(work: Path, out: Path, tokens: Tokens, presets: dict[str, int]) -> None:
    """Write the checkpoint of what was trained in `work`; `presets` says which utterance is a voice's preset."""
    out.mkdir(parents=True, exist_ok=True)
    tensors: dict[str, Tensor] = {}
    for stage, section in SECTIONS.items():
        module = load(build(stage), work / f"{stage}.pt")
        assert isinstance(module, Causal | Fine)
        own = checkpoint_tensors(module)
        # The fine model's heads are its embeddings too, so it is the last norm that makes its logits larger.
        for name in ("norm.weight", "norm.bias") if stage == "fine" else ("head.weight",):
            own[name] = own[name] * SHARPER[stage]
        tensors |= {f"{section}.{_theirs(name)}": tensor for name, tensor in own.items()}
    tensors |= {f"codec_model.{name}": tensor for name, tensor in codec_tensors(codec.load(work / "codec.pt"))}
    halves = {name: tensor.detach().half().contiguous() for name, tensor in tensors.items()}
    save_file(halves, out / "model.safetensors", metadata={"format": "pt"})
    _write_json(out / "config.json", configuration())
    _write_json(out / "generation_config.json", generation_configuration())
    spelling.write(out / "tokenizer.json")
    shutil.copyfile(work / codebooks.FILE, out / codebooks.FILE)
    for voice in VOICES:
        target = out / "speaker_embeddings" / f"{VOICE_NAMES[voice]}.npz"
        target.parent.mkdir(exist_ok=True)
        tokens.preset(presets[voice]).save(target)


def _theirs(name: str) -> str:
    """An exporter's name as transformers spells it."""
    parts = name.split(".")
    numbers = [part for part in parts if part.isdigit()]
    pattern = ".".join("{}" if part.isdigit() else part for part in parts[:-1])
    return f"{HUGGING_FACE.modules[pattern].format(*numbers)}.{parts[-1]}"


def codec_tensors(decoder: CodecModule) -> Iterator[tuple[str, Tensor]]:
    """The decoder under the names of transformers' EncodecModel, every convolution split as weight norm has it."""
    for n, table in enumerate(decoder.codebooks):
        yield f"quantizer.layers.{n}.codebook.embed", table
    yield from _convolution("decoder.layers.0.conv", decoder.stem)
    for name, tensor in decoder.lstm.named_parameters():
        yield f"decoder.layers.1.lstm.{name}", tensor
    layer = 2
    for stage in cast(list[Stage], decoder.stages):
        yield from _convolution(f"decoder.layers.{layer + 1}.conv", stage.upsample)
        for residual in cast(list[Residual], stage.residuals):
            place = f"decoder.layers.{layer + 2}"
            yield from _convolution(f"{place}.block.1.conv", residual.conv_1)
            yield from _convolution(f"{place}.block.3.conv", residual.conv_2)
            yield from _convolution(f"{place}.shortcut.conv", residual.shortcut)
            layer += 1
        layer += 2
    yield from _convolution(f"decoder.layers.{layer + 1}.conv", decoder.last)


def _convolution(name: str, module: torch.nn.Module) -> Iterator[tuple[str, Tensor]]:
    weight, bias = module.get_parameter("weight"), module.get_parameter("bias")
    # The norm of what is stored in fp16, so that the folded weight is just that.
    yield f"{name}.parametrizations.weight.original0", weight.half().float().norm(dim=(1, 2), keepdim=True)
    yield f"{name}.parametrizations.weight.original1", weight
    yield f"{name}.bias", bias


def configuration() -> dict[str, object]:
    """config.json: only what differs from nothing; both libraries have the rest as defaults."""
    sizes = codec.SIZE
    frame_bits = int(_V.coarse_rate) * 10
    return {
        "architectures": ["BarkModel"],
        "model_type": "bark",
        "dtype": "float16",
        "semantic_config": _transformer(SIZES["semantic"], "semantic"),
        "coarse_acoustics_config": _transformer(SIZES["coarse"], "coarse_acoustics"),
        "fine_acoustics_config": _transformer(SIZES["fine"], "fine_acoustics")
        | {"n_codes_total": _V.fine_codebooks, "n_codes_given": 1},
        "codec_config": {
            "model_type": "encodec",
            "sampling_rate": _V.sample_rate,
            "audio_channels": 1,
            "num_filters": sizes.filters,
            "hidden_size": sizes.width,
            "codebook_size": sizes.codebook_size,
            "codebook_dim": sizes.width,
            "upsampling_ratios": list(sizes.ratios),
            "num_lstm_layers": sizes.lstm_layers,
            "num_residual_layers": sizes.residual_layers,
            "target_bandwidths": [(_V.fine_codebooks + 0.5) * frame_bits / 1000],
        },
    }


def _transformer(size: TransformerSize, name: str) -> dict[str, object]:
    return {
        "model_type": name,
        "num_layers": size.layers,
        "num_heads": size.heads,
        "hidden_size": size.width,
        "block_size": size.context,
        "input_vocab_size": size.input_vocabulary,
        "output_vocab_size": size.output_vocabulary,
        "bias": False,
        "dropout": 0.0,
    }


def generation_configuration() -> dict[str, object]:
    """generation_config.json: the token space, which is this model's own."""
    return {
        "model_type": "bark",
        "semantic_config": {
            "text_encoding_offset": _V.text_offset,
            "text_pad_token": _V.text_pad,
            "max_input_semantic_length": _V.text_window,
            "semantic_vocab_size": _V.semantic_size,
            "semantic_pad_token": _V.semantic_pad,
            "eos_token_id": _V.semantic_pad,
            "semantic_infer_token": _V.semantic_infer,
            "semantic_rate_hz": _V.semantic_rate,
            "max_new_tokens": _V.max_semantic_tokens,
        },
        "coarse_acoustics_config": {
            "n_coarse_codebooks": _V.coarse_codebooks,
            "coarse_rate_hz": int(_V.coarse_rate),
            "coarse_semantic_pad_token": _V.coarse_semantic_pad,
            "coarse_infer_token": _V.coarse_infer,
            "max_coarse_input_length": _V.coarse_semantic_window,
            "max_coarse_history": _V.max_coarse_history,
        },
        "fine_acoustics_config": {
            "n_fine_codebooks": _V.fine_codebooks,
            "max_fine_input_length": _V.fine_window,
            "max_fine_history_length": _V.fine_history,
        },
        "codebook_size": _V.codebook_size,
        "sample_rate": _V.sample_rate,
    }


def _write_json(path: Path, value: dict[str, object]) -> None:
    path.write_text(json.dumps(value, indent=2) + "\n", encoding="utf-8")
