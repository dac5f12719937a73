"""Bark's transformers: the names that each library gives to sizes and tensors, and the weights under our names.

Sources: suno-ai/bark, `bark/model.py` and `bark/model_fine.py`; transformers, `models/bark/modeling_bark.py`.
"""

import re
from collections.abc import Mapping
from dataclasses import dataclass

import torch

from bark_onnx.model.sizes import TransformerSize

from ..errors import CheckpointError, listing
from ..sources.configuration import Section
from .weights import Place, Shape, Weights, collect

# For each size: the default of both libraries, and the largest value that is accepted.
_SIZES = {
    "layers": (12, 128),
    "heads": (12, 128),
    "width": (768, 8192),
    "context": (1024, 65_536),
    "input_vocabulary": (10_048, 1_000_000),
    "output_vocabulary": (10_048, 1_000_000),
}

_CAUSAL_MASK = re.compile(r"\.attn\.bias$")  # a buffer in both libraries, not a bias


@dataclass(frozen=True)
class TransformerNames:
    """The names that a library gives to a transformer's sizes and modules.

    Attributes:
        sizes: the field of its configuration for each size of ours.
        modules: the module of its state dict for each module of ours; `{}` stands for a number.
        prefix: what all names in the state dict begin with.
    """

    sizes: Mapping[str, str]
    modules: Mapping[str, str]
    prefix: str = ""

    def places(self, shapes: Mapping[str, Shape]) -> dict[str, Place]:
        """Return the place of each tensor, by our names."""
        return {name: Place(self._theirs(name), shape) for name, shape in shapes.items()}

    def _theirs(self, name: str) -> str:
        """Return the library's name for a tensor of ours."""
        module, _, kind = name.rpartition(".")
        numbers = re.findall(r"\.(\d+)", module)
        theirs = self.modules[re.sub(r"\.\d+", ".{}", module)].format(*numbers)
        return f"{self.prefix}{theirs}.{kind}"


HUGGING_FACE = TransformerNames(
    sizes={
        "layers": "num_layers",
        "heads": "num_heads",
        "width": "hidden_size",
        "context": "block_size",
        "input_vocabulary": "input_vocab_size",
        "output_vocabulary": "output_vocab_size",
    },
    modules={
        "token_embedding": "input_embeds_layer",
        "token_embeddings.{}": "input_embeds_layers.{}",
        "position_embedding": "position_embeds_layer",
        "blocks.{}.norm_1": "layers.{}.layernorm_1",
        "blocks.{}.attention.qkv": "layers.{}.attn.att_proj",
        "blocks.{}.attention.out": "layers.{}.attn.out_proj",
        "blocks.{}.norm_2": "layers.{}.layernorm_2",
        "blocks.{}.mlp.up": "layers.{}.mlp.in_proj",
        "blocks.{}.mlp.down": "layers.{}.mlp.out_proj",
        "norm": "layernorm_final",
        "head": "lm_head",
        "heads.{}": "lm_heads.{}",
    },
)

SUNO = TransformerNames(
    sizes={
        "layers": "n_layer",
        "heads": "n_head",
        "width": "n_embd",
        "context": "block_size",
        "input_vocabulary": "input_vocab_size",
        "output_vocabulary": "output_vocab_size",
    },
    modules={
        "token_embedding": "transformer.wte",
        "token_embeddings.{}": "transformer.wtes.{}",
        "position_embedding": "transformer.wpe",
        "blocks.{}.norm_1": "transformer.h.{}.ln_1",
        "blocks.{}.attention.qkv": "transformer.h.{}.attn.c_attn",
        "blocks.{}.attention.out": "transformer.h.{}.attn.c_proj",
        "blocks.{}.norm_2": "transformer.h.{}.ln_2",
        "blocks.{}.mlp.up": "transformer.h.{}.mlp.c_fc",
        "blocks.{}.mlp.down": "transformer.h.{}.mlp.c_proj",
        "norm": "transformer.ln_f",
        "head": "lm_head",
        "heads.{}": "lm_heads.{}",
    },
)


def load_transformer(
    stage: str, where: str, config: Section, tensors: Mapping[str, torch.Tensor], names: TransformerNames
) -> Weights:
    """Return the weights of the semantic, coarse or fine model.

    Args:
        where: the network's name in errors.
        config: its configuration.
        tensors: its state dict.
        names: the names in both.

    Raises:
        CheckpointError: a size is impossible, or tensors are missing, unexpected or do not fit the sizes.
    """
    load = _load_fine if stage == "fine" else _load_causal
    return load(where, config, tensors, names)


def _load_causal(where: str, config: Section, tensors: Mapping[str, torch.Tensor], names: TransformerNames) -> Weights:
    size, bias = _size(config, names), config.flag("bias", True)
    shapes = {
        "token_embedding.weight": (size.input_vocabulary, size.width),
        **_shared_shapes(size, linear_bias=bias, norm_bias=bias),
        "head.weight": (size.output_vocabulary, size.width),
    }
    return Weights(size, collect(where, tensors, names.places(shapes), _CAUSAL_MASK))


def _load_fine(where: str, config: Section, tensors: Mapping[str, torch.Tensor], names: TransformerNames) -> Weights:
    """Load the fine model. The heads are tied: head i - 1 is embedding i.

    `token_embeddings` [codebooks, vocabulary, width] of the result therefore holds both.
    """
    # If more than one codebook is given, the libraries tie the heads to the embeddings of other codebooks.
    config.require({"n_codes_given": 1})
    size, codebooks = _size(config, names), config.integer("n_codes_total", 8, most=64)
    if size.input_vocabulary != size.output_vocabulary:
        raise CheckpointError(
            f"{config.where} has {size.input_vocabulary} input and {size.output_vocabulary} output ids, "
            "but the heads of a fine model are its embeddings"
        )
    embeddings = [f"token_embeddings.{i}.weight" for i in range(codebooks)]
    heads = {f"heads.{i}.weight": embeddings[i + 1] for i in range(codebooks - 1)}
    table = (size.input_vocabulary, size.width)
    shapes = dict.fromkeys([*embeddings, *heads], table) | _shared_shapes(
        size, linear_bias=config.flag("bias", True), norm_bias=True
    )
    places = names.places(shapes)
    for head in heads:
        if places[head].name not in tensors:  # a file may leave out tied tensors
            del places[head]
    found = collect(where, tensors, places, _CAUSAL_MASK)

    present = [(head, found.pop(head)) for head in heads if head in found]
    untied = [places[head].name for head, tensor in present if not torch.equal(tensor, found[heads[head]])]
    if untied:
        raise CheckpointError(f"{where} has heads that are not its embeddings ({listing(untied)}), unlike any Bark")
    return Weights(size, found | {"token_embeddings": torch.stack([found.pop(name) for name in embeddings])})


def _size(config: Section, names: TransformerNames) -> TransformerSize:
    size = TransformerSize(
        **{ours: config.integer(names.sizes[ours], default, most) for ours, (default, most) in _SIZES.items()}
    )
    if size.width % size.heads:
        raise CheckpointError(f"{config.where} divides a width of {size.width} among {size.heads} heads")
    return size


def _shared_shapes(size: TransformerSize, *, linear_bias: bool, norm_bias: bool) -> dict[str, Shape]:
    """Return our names and shapes of the tensors that the causal and the fine model have in common."""
    width = size.width
    block = {
        "norm_1": ((width,), norm_bias),
        "attention.qkv": ((3 * width, width), linear_bias),
        "attention.out": ((width, width), linear_bias),
        "norm_2": ((width,), norm_bias),
        "mlp.up": ((4 * width, width), linear_bias),
        "mlp.down": ((width, 4 * width), linear_bias),
    }
    modules = {f"blocks.{i}.{name}": module for i in range(size.layers) for name, module in block.items()}
    modules["norm"] = ((width,), norm_bias)
    weights = {f"{name}.weight": shape for name, (shape, _) in modules.items()}
    biases = {f"{name}.bias": shape[:1] for name, (shape, bias) in modules.items() if bias}
    return {"position_embedding.weight": (size.context, width)} | weights | biases
