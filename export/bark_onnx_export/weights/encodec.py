"""The weights of EnCodec's quantizer and decoder, from Hugging Face's or Meta's files.

Sources: facebookresearch/encodec, `encodec/modules/seanet.py`; transformers, `models/encodec/modeling_encodec.py`.
"""

import re
from collections.abc import Callable, Iterator, Mapping
from dataclasses import replace
from functools import partial
from pathlib import Path

import torch

from bark_onnx.model.sizes import CodecSize
from bark_onnx.model.vocabulary import Vocabulary

from ..errors import CheckpointError
from ..sources.configuration import Section, read_json
from ..sources.directory import CheckpointDirectory
from ..sources.state_files import StateFiles
from ..sources.tensor_files import check_complete, read_pickle, state_dict
from .codec_names import HUGGING_FACE, META, CodecNames, weight_norm_names
from .codec_size import size_from_configuration, size_from_shapes
from .weights import Place, Shape, Weights, collect

# The encoder, statistics of the quantizer's training, and codebooks that Bark does not predict.
_IGNORED = re.compile(
    r"^(codec_model\.)?"
    r"(encoder\.|quantizer\.(vq\.)?layers\.\d+\._?codebook\.(embed|embed_avg|cluster_size|inited)$)"
)


def open_codec(source: CheckpointDirectory | Path, vocabulary: Vocabulary) -> Callable[[], Weights]:
    """Return a function that loads the codec from the directory of a Hugging Face EncodecModel or Meta's `.th` file.

    Raises:
        CheckpointError: a file is missing, incomplete, or cannot be read.
    """
    if isinstance(source, CheckpointDirectory):
        config = Section(f"config.json of {source.name}", read_json(source.file("config.json")))
        return partial(_load_files, source.name, config, StateFiles.find(source), vocabulary)
    check_complete(source)
    return partial(_load_meta_file, source, vocabulary)


def _load_files(where: str, config: Section, files: StateFiles, vocabulary: Vocabulary) -> Weights:
    return load_huggingface_codec(where, config, files.read(), vocabulary)


def _load_meta_file(path: Path, vocabulary: Vocabulary) -> Weights:
    value = read_pickle(path)
    for wrapping in ("best_state", "model"):
        value = value.get(wrapping, value) if isinstance(value, dict) else value
    tensors = state_dict(value, path.name)
    return _load(path.name, size_from_shapes(path.name, tensors, vocabulary), tensors, META)


def load_huggingface_codec(
    where: str, config: Section, tensors: Mapping[str, torch.Tensor], vocabulary: Vocabulary, prefix: str = ""
) -> Weights:
    """Return the codec of a Hugging Face checkpoint, with as many of its codebooks as Bark predicts.

    Args:
        where: the codec's name in errors.
        config: its configuration.
        tensors: a state dict that holds it.
        prefix: what the names of its tensors begin with.

    Raises:
        CheckpointError: it is another codec, or tensors are missing, unexpected or do not fit the sizes.
    """
    return _load(where, size_from_configuration(config, vocabulary), tensors, replace(HUGGING_FACE, prefix=prefix))


def _load(where: str, size: CodecSize, tensors: Mapping[str, torch.Tensor], names: CodecNames) -> Weights:
    """Collect the codec's tensors, and fold weight norm into the weights."""
    places = {f"lstm.{name}": Place(f"{names.lstm}.{name}", shape) for name, shape in _lstm_shapes(size).items()}
    for n in range(size.codebooks):
        places[f"codebooks.{n}"] = Place(names.codebook.format(n=n), (size.codebook_size, size.width))
    magnitude, direction = weight_norm_names(tensors)
    convolutions = list(_convolutions(size))
    for name, layer, kind, shape in convolutions:
        theirs = names.convolution.format(layer=layer, kind=kind)
        places[f"{name}.g"] = Place(theirs + magnitude, (shape[0], 1, 1))
        places[f"{name}.v"] = Place(theirs + direction, shape)
        places[f"{name}.bias"] = Place(f"{theirs}.bias", (shape[1] if kind == "convtr" else shape[0],))
    places = {name: replace(place, name=names.prefix + place.name) for name, place in places.items()}
    found = collect(where, tensors, places, _IGNORED)

    codebooks = torch.stack([found.pop(f"codebooks.{n}") for n in range(size.codebooks)])
    for name, *_ in convolutions:
        g, v = found.pop(f"{name}.g"), found.pop(f"{name}.v")
        # Weight norm (Salimans & Kingma 2016): the norm is over all dimensions except 0, for both kinds of convolution.
        norm = v.norm(dim=(1, 2), keepdim=True)
        if not norm.all():
            raise CheckpointError(f"{where} has zeros throughout {places[f'{name}.v'].name}: download it again")
        found[f"{name}.weight"] = v * (g / norm)
    return Weights(size, found | {"codebooks": codebooks})


def _convolutions(size: CodecSize) -> Iterator[tuple[str, str, str, Shape]]:
    """Yield for each convolution our name, its layer in the decoder, its kind, and its weight's shape.

    The shape is [out, in, kernel]; for a transposed convolution (convtr) it is [in, out, kernel].
    """
    width = size.filters << len(size.ratios)
    yield "stem", "0", "conv", (width, size.width, size.kernel)
    layer = 2  # layer 1 is the LSTM; an activation comes before each upsampling and before the last convolution
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
