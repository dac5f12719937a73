"""EnCodec's quantizer and decoder, from Hugging Face's or Meta's files, with weight norm folded into the weights.

Sources: facebookresearch/encodec, `encodec/modules/seanet.py`; transformers, `models/encodec/modeling_encodec.py`.
"""

import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from pathlib import Path

import torch

from bark_onnx.model.sizes import CodecSize
from bark_onnx.model.vocabulary import Vocabulary

from .configuration import Section, read_json
from .directory import CheckpointDirectory
from .state_files import StateFiles, read_pickle, state_dict, unwrapped
from .weights import CheckpointError, Place, Shape, Weights, collect

_PUBLISHED = CodecSize()

_SIZES = {  # ours: in Hugging Face's configuration
    "codebook_size": "codebook_size",
    "width": "hidden_size",
    "filters": "num_filters",
    "residual_layers": "num_residual_layers",
    "kernel": "kernel_size",
    "last_kernel": "last_kernel_size",
    "residual_kernel": "residual_kernel_size",
    "dilation_growth": "dilation_growth_rate",
    "compress": "compress",
    "lstm_layers": "num_lstm_layers",
}

_ARCHITECTURE = {  # the only values that CodecDecoder can do
    "model_type": "encodec",
    "audio_channels": 1,
    "norm_type": "weight_norm",
    "use_causal_conv": True,
    "pad_mode": "reflect",
    "trim_right_ratio": 1.0,
}

# The encoder, what training leaves in the quantizer, and codebooks beyond those that Bark predicts.
_IGNORED = re.compile(
    r"^(codec_model\.)?"
    r"(encoder\.|quantizer\.(vq\.)?layers\.\d+\._?codebook\.(embed|embed_avg|cluster_size|inited)$)"
)


@dataclass(frozen=True)
class Layout:
    """How a library spells the decoder's modules."""

    convolution: str
    lstm: str
    codebook: str


HUGGING_FACE = Layout(
    convolution="decoder.layers.{place}.conv",
    lstm="decoder.layers.1.lstm",
    codebook="quantizer.layers.{n}.codebook.embed",
)
META = Layout(
    convolution="decoder.model.{place}.{kind}.{kind}",
    lstm="decoder.model.1.lstm",
    codebook="quantizer.vq.layers.{n}._codebook.embed",
)

# torch's two spellings of weight norm: magnitude g, direction v.
_HOOKS = (".weight_g", ".weight_v")
_PARAMETRIZATION = (".parametrizations.weight.original0", ".parametrizations.weight.original1")


def load_codec(path: CheckpointDirectory | Path, vocabulary: Vocabulary) -> Weights:
    """The codec from the directory of a Hugging Face EncodecModel, or from Meta's `.th` file."""
    if isinstance(path, CheckpointDirectory):
        config = Section(f"config.json of {path.name}", read_json(path.file("config.json")))
        return load_huggingface_codec(path.name, config, StateFiles.find(path).read(), vocabulary)
    value = read_pickle(path)
    for wrapping in ("best_state", "model"):
        value = value.get(wrapping, value) if isinstance(value, dict) else value
    tensors = state_dict(value, path.name)
    tensors = {name: tensors[theirs] for name, theirs in unwrapped(tensors, path.name).items()}
    return _load(path.name, _size_from_shapes(path.name, tensors, vocabulary), tensors, META)


def load_huggingface_codec(
    where: str, config: Section, tensors: Mapping[str, torch.Tensor], vocabulary: Vocabulary, prefix: str = ""
) -> Weights:
    """The codec of a Hugging Face checkpoint, with as many of its codebooks as Bark predicts."""
    config.require(_ARCHITECTURE | {"sampling_rate": vocabulary.sample_rate})
    sizes = {ours: config.integer(theirs, getattr(_PUBLISHED, ours), most=8192) for ours, theirs in _SIZES.items()}
    size = CodecSize(
        codebooks=vocabulary.fine_codebooks,
        ratios=_ratios(config),
        shortcut=config.flag("use_conv_shortcut", _PUBLISHED.shortcut),
        **sizes,
    )
    layout = Layout(prefix + HUGGING_FACE.convolution, prefix + HUGGING_FACE.lstm, prefix + HUGGING_FACE.codebook)
    return _load(where, size, tensors, layout)


def _ratios(config: Section) -> tuple[int, ...]:
    ratios = config.values.get("upsampling_ratios", list(_PUBLISHED.ratios))
    if isinstance(ratios, list) and 1 <= len(ratios) <= 8 and all(type(r) is int and 1 <= r <= 64 for r in ratios):
        return tuple(ratios)
    raise CheckpointError(f"upsampling_ratios in {config.where} is not a list of up to 8 numbers from 1 to 64")


def _size_from_shapes(where: str, tensors: Mapping[str, torch.Tensor], vocabulary: Vocabulary) -> CodecSize:
    """Meta's files carry no configuration, but the shapes of their convolutions give all except the dilation.

    Nor do they say that the model is causal; Meta's only other model, 48 kHz, is known by its lack of weight norm.
    """
    ends = _convolution_shapes(tensors, r"\.conv\.conv")
    upsamples = _convolution_shapes(tensors, r"\.convtr\.convtr")
    residuals = _convolution_shapes(tensors, r"\.block\.1\.conv\.conv")
    rank_3 = all(len(shape) == 3 and min(shape) > 0 for shape in ends + upsamples + residuals)
    if not (rank_3 and len(ends) == 2 and upsamples and residuals):
        raise CheckpointError(f"{where} is not the causal 24 kHz EnCodec with weight norm: give encodec_24khz-*.th")
    (stem_channels, width, kernel), (_, _, last_kernel) = ends
    hidden, channels, residual_kernel = residuals[0]
    return replace(
        _PUBLISHED,
        codebooks=vocabulary.fine_codebooks,
        codebook_size=vocabulary.codebook_size,
        width=width,
        filters=stem_channels >> len(upsamples),
        ratios=tuple(shape[2] // 2 for shape in upsamples),
        residual_layers=len(residuals) // len(upsamples),
        kernel=kernel,
        last_kernel=last_kernel,
        residual_kernel=residual_kernel,
        compress=max(1, channels // hidden),
        lstm_layers=max(1, sum(name.startswith(f"{META.lstm}.weight_ih_l") for name in tensors)),
        shortcut=any(name.startswith("decoder.") and ".shortcut." in name for name in tensors),
    )


def _convolution_shapes(tensors: Mapping[str, torch.Tensor], kind: str) -> list[Shape]:
    """Shapes of the weights of Meta's convolutions of one kind, in the decoder's order."""
    pattern = re.compile(r"decoder\.model\.(\d+)" + kind + re.escape(_weight_norm(tensors)[1]))
    layers = {int(match[1]): name for name in tensors if (match := pattern.fullmatch(name))}
    return [tuple(tensors[layers[layer]].shape) for layer in sorted(layers)]


def _load(where: str, size: CodecSize, tensors: Mapping[str, torch.Tensor], layout: Layout) -> Weights:
    places = {f"lstm.{name}": Place(f"{layout.lstm}.{name}", shape) for name, shape in _lstm_shapes(size).items()}
    for n in range(size.codebooks):
        places[f"codebooks.{n}"] = Place(layout.codebook.format(n=n), (size.codebook_size, size.width))
    magnitude, direction = _weight_norm(tensors)
    convolutions = list(_convolutions(size))
    for name, place, kind, shape in convolutions:
        theirs = layout.convolution.format(place=place, kind=kind)
        places[f"{name}.g"] = Place(theirs + magnitude, (shape[0], 1, 1))
        places[f"{name}.v"] = Place(theirs + direction, shape)
        places[f"{name}.bias"] = Place(f"{theirs}.bias", (shape[1] if kind == "convtr" else shape[0],))
    found = collect(where, tensors, places, _IGNORED)

    codebooks = torch.stack([found.pop(f"codebooks.{n}") for n in range(size.codebooks)])
    for name, *_ in convolutions:
        g, v = found.pop(f"{name}.g"), found.pop(f"{name}.v")
        # Weight norm (Salimans & Kingma 2016), over all but dimension 0 for either kind of convolution.
        norm = v.norm(dim=(1, 2), keepdim=True)
        if not norm.all():
            raise CheckpointError(f"{where} has zeros throughout {places[f'{name}.v'].name}: download it again")
        found[f"{name}.weight"] = v * (g / norm)
    return Weights(size, found | {"codebooks": codebooks})


def _weight_norm(tensors: Mapping[str, torch.Tensor]) -> tuple[str, str]:
    """The spelling of weight norm in this state dict."""
    return _PARAMETRIZATION if any(name.endswith(_PARAMETRIZATION) for name in tensors) else _HOOKS


def _convolutions(size: CodecSize) -> Iterator[tuple[str, str, str, Shape]]:
    """Of each convolution: our name, its place in the decoder, its kind, and its weight's shape.

    The shape is [out, in, kernel], but [in, out, kernel] of a transposed convolution (convtr).
    """
    width = size.filters << len(size.ratios)
    yield "stem", "0", "conv", (width, size.width, size.kernel)
    layer = 2  # layer 1 is the LSTM; each stage begins with an activation, and so does the end
    for stage, ratio in enumerate(size.ratios):
        yield f"stages.{stage}.upsample", f"{layer + 1}", "convtr", (width, width // 2, 2 * ratio)
        width //= 2
        hidden = width // size.compress
        for j in range(size.residual_layers):
            name, block = f"stages.{stage}.residuals.{j}", layer + 2 + j
            yield f"{name}.conv_1", f"{block}.block.1", "conv", (hidden, width, size.residual_kernel)
            yield f"{name}.conv_2", f"{block}.block.3", "conv", (width, hidden, 1)
            if size.shortcut:
                yield f"{name}.shortcut", f"{block}.shortcut", "conv", (width, width, 1)
        layer += 2 + size.residual_layers
    yield "last", f"{layer + 1}", "conv", (1, width, size.last_kernel)


def _lstm_shapes(size: CodecSize) -> dict[str, Shape]:
    width = size.filters << len(size.ratios)
    shapes: dict[str, Shape] = {
        "weight_ih": (4 * width, width),
        "weight_hh": (4 * width, width),
        "bias_ih": (4 * width,),
        "bias_hh": (4 * width,),
    }
    return {f"{name}_l{layer}": shape for layer in range(size.lstm_layers) for name, shape in shapes.items()}
