"""Generated checkpoints: real layouts, any size up to the published ones, random weights; and a small real tokenizer.

    python -m bark_onnx_bench.checkpoints DIRECTORY [tiny|small|large]

What such a model says is noise; what it costs is what the published weights cost.
"""

import argparse
import json
import math
from pathlib import Path
from typing import Literal

import torch
from tokenizers import Tokenizer, decoders, models, normalizers, pre_tokenizers, processors
from torch import nn
from transformers import BarkConfig, BarkModel, EncodecConfig, GenerationConfig
from transformers.models.bark.generation_configuration_bark import (
    BarkCoarseGenerationConfig,
    BarkFineGenerationConfig,
    BarkSemanticGenerationConfig,
)

from bark_onnx.model.vocabulary import Vocabulary

# Layers, heads, width, codec filters and codec width; small and large are the published sizes.
SIZES = {"tiny": (2, 2, 32, 4, 16), "small": (12, 12, 768, 32, 128), "large": (24, 16, 1024, 32, 128)}

# A token space of its own: networks of a few kilobytes, but the published windows, rates and frames.
SMALL_VOCABULARY = Vocabulary(
    text_offset=112,
    text_pad=900,
    semantic_size=100,
    semantic_pad=100,
    semantic_infer=901,
    coarse_semantic_pad=230,
    coarse_infer=232,
    codebook_size=64,
)

SLIDING_WINDOW = 60
UNUSED_CODEBOOKS = 4  # the published codec has 32 codebooks, of which Bark predicts 8


def bark_config(
    *,
    layers: int = 2,
    heads: int = 2,
    width: int = 32,
    bias: bool = False,
    vocabulary: Vocabulary | None = None,
    filters: int = 4,
    codec_width: int = 16,
    ratios: tuple[int, ...] = (8, 5, 4, 2),
) -> BarkConfig:
    """The configuration of a small Bark for a token space (by default the published one)."""
    v = vocabulary or Vocabulary()
    coarse_context = v.coarse_semantic_window + 1 + v.max_coarse_history + SLIDING_WINDOW
    size = {
        "num_layers": layers,
        "num_heads": heads,
        "hidden_size": width,
        "bias": bias,
        "block_size": max(v.text_window + v.max_semantic_tokens, coarse_context, v.fine_window),
    }
    coarse_ids = 64 * math.ceil((max(v.coarse_semantic_pad, v.coarse_infer) + 1) / 64)
    fine_ids = v.codebook_size + 32
    frame_bits = math.ceil(v.sample_rate / math.prod(ratios)) * math.ceil(math.log2(v.codebook_size))
    codec = EncodecConfig(
        sampling_rate=v.sample_rate,
        num_filters=filters,
        hidden_size=codec_width,
        codebook_size=v.codebook_size,
        upsampling_ratios=list(ratios),
        target_bandwidths=[(v.fine_codebooks + UNUSED_CODEBOOKS + 0.5) * frame_bits / 1000],
    )
    return BarkConfig(
        semantic_config=size
        | {"input_vocab_size": max(v.text_pad, v.semantic_infer) + 1, "output_vocab_size": v.text_offset},
        coarse_acoustics_config=size | {"input_vocab_size": coarse_ids, "output_vocab_size": coarse_ids},
        fine_acoustics_config=size
        | {"input_vocab_size": fine_ids, "output_vocab_size": fine_ids, "n_codes_total": v.fine_codebooks},
        codec_config=codec.to_dict(),
    )


def make_bark(
    *,
    layers: int = 2,
    heads: int = 2,
    width: int = 32,
    bias: bool = False,
    seed: int = 0,
    vocabulary: Vocabulary | None = None,
    filters: int = 4,
    codec_width: int = 16,
) -> BarkModel:
    """A Bark with random weights, the same for the same arguments, in which every weight makes a difference."""
    config = bark_config(
        layers=layers,
        heads=heads,
        width=width,
        bias=bias,
        vocabulary=vocabulary,
        filters=filters,
        codec_width=codec_width,
    )
    with torch.random.fork_rng():
        torch.manual_seed(seed)
        model = BarkModel(config).eval().requires_grad_(False)
        for network in (model.semantic, model.coarse_acoustics, model.fine_acoustics):
            _randomise_transformer(network, width)
        _randomise_codec(model.codec_model)
    model.generation_config = _generation_config(vocabulary or Vocabulary())
    return model


def _randomise_transformer(network: nn.Module, width: int) -> None:
    """Logits far from flat whatever the width, and LayerNorms far from their defaults."""
    std = (1.28 / width) ** 0.5
    for name, parameter in network.named_parameters():
        if name.endswith("bias"):
            parameter.normal_(std=0.1)
        elif "layernorm" in name:
            parameter.normal_(mean=1.0, std=0.2)
        else:
            parameter.normal_(std=std)


def _randomise_codec(codec: nn.Module) -> None:
    """Codebooks that are not zero, magnitudes that are not those of their directions, a waveform of about 0.1."""
    for name, tensor in codec.state_dict().items():
        if name.endswith(("codebook.embed", "codebook.embed_avg")):
            tensor.normal_()
        elif name.endswith("conv.bias"):
            tensor.normal_(std=0.05)
        elif name.endswith("original0"):
            tensor.mul_(torch.empty_like(tensor).uniform_(1.1, 1.7))


def _generation_config(v: Vocabulary) -> GenerationConfig:
    """As `BarkModel.from_pretrained` has it: sections as plain dictionaries."""
    semantic = BarkSemanticGenerationConfig(
        text_encoding_offset=v.text_offset,
        text_pad_token=v.text_pad,
        max_input_semantic_length=v.text_window,
        semantic_vocab_size=v.semantic_size,
        eos_token_id=v.semantic_pad,
        semantic_infer_token=v.semantic_infer,
        semantic_rate_hz=v.semantic_rate,
        max_new_tokens=v.max_semantic_tokens,
    )
    coarse = BarkCoarseGenerationConfig(
        n_coarse_codebooks=v.coarse_codebooks,
        coarse_rate_hz=v.coarse_rate,
        coarse_semantic_pad_token=v.coarse_semantic_pad,
        coarse_infer_token=v.coarse_infer,
        max_coarse_input_length=v.coarse_semantic_window,
        max_coarse_history=v.max_coarse_history,
    )
    fine = BarkFineGenerationConfig(
        n_fine_codebooks=v.fine_codebooks,
        max_fine_input_length=v.fine_window,
        max_fine_history_length=v.fine_history,
    )
    return GenerationConfig.from_dict(
        {
            "model_type": "bark",
            "semantic_config": semantic.to_dict(),
            "coarse_acoustics_config": coarse.to_dict(),
            "fine_acoustics_config": fine.to_dict(),
            "codebook_size": v.codebook_size,
            "sample_rate": v.sample_rate,
        }
    )


def save_huggingface(
    model: BarkModel,
    directory: Path,
    *,
    format: Literal["safetensors", "sharded", "bin", "sharded bin"] = "safetensors",
    weight_norm: Literal["parametrizations", "hooks"] = "parametrizations",
) -> Path:
    """Write `model` as transformers does or, for the formats that it no longer writes, did."""
    state = dict(model.state_dict())
    if weight_norm == "hooks":
        state = {with_hooks(name): tensor for name, tensor in state.items()}
    if format in ("safetensors", "sharded"):
        model.save_pretrained(directory, state_dict=state, max_shard_size="10GB" if format == "safetensors" else "4MB")
        return directory
    model.config.save_pretrained(directory)
    model.generation_config.save_pretrained(directory)
    if format == "bin":
        torch.save(state, directory / "pytorch_model.bin")
        return directory
    files = ["pytorch_model-00001-of-00002.bin", "pytorch_model-00002-of-00002.bin"]
    weight_map = {name: files[i % 2] for i, name in enumerate(state)}
    for file in files:
        torch.save({name: state[name].clone() for name in state if weight_map[name] == file}, directory / file)
    (directory / "pytorch_model.bin.index.json").write_text(json.dumps({"metadata": {}, "weight_map": weight_map}))
    return directory


def with_hooks(name: str) -> str:
    """A name under torch's older spelling of weight norm."""
    return name.replace("parametrizations.weight.original0", "weight_g").replace(
        "parametrizations.weight.original1", "weight_v"
    )


_SPECIAL_TOKENS = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]"]
_CHARACTERS = "".join(map(chr, range(33, 127))) + "áäàâçéèêëíñóöôßúüÄÉÖÜ¿¡你好世界こんにちは안녕привет"
_WORDS = ["hello", "Hello", "world", "the", "is", "of", "dog", "##s", "##ing", "laugh", "##ter", "music", "Suno"]


def write_tokenizer(directory: Path) -> Path:
    """A cased BERT tokenizer like bert-base-multilingual-cased, but of some 300 pieces.

    Returns:
        The path of tokenizer.json; vocab.txt lies beside it.
    """
    characters = list(dict.fromkeys(_CHARACTERS))
    pieces = [*_SPECIAL_TOKENS, *characters, *(f"##{character}" for character in characters), *_WORDS]
    vocabulary = {piece: index for index, piece in enumerate(pieces)}
    tokenizer = Tokenizer(models.WordPiece(vocabulary, unk_token="[UNK]", max_input_chars_per_word=100))
    tokenizer.normalizer = normalizers.BertNormalizer(lowercase=False, strip_accents=False)
    tokenizer.pre_tokenizer = pre_tokenizers.BertPreTokenizer()
    tokenizer.post_processor = processors.TemplateProcessing(
        single="[CLS] $A [SEP]",
        pair="[CLS] $A [SEP] $B:1 [SEP]:1",
        special_tokens=[(token, vocabulary[token]) for token in ("[CLS]", "[SEP]")],
    )
    tokenizer.decoder = decoders.WordPiece()
    tokenizer.add_special_tokens(_SPECIAL_TOKENS)
    directory.mkdir(parents=True, exist_ok=True)
    (directory / "vocab.txt").write_text("".join(f"{piece}\n" for piece in pieces), encoding="utf-8")
    tokenizer.save(str(directory / "tokenizer.json"))
    return directory / "tokenizer.json"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("directory", type=Path)
    parser.add_argument("size", choices=SIZES, nargs="?", default="tiny")
    arguments = parser.parse_args()
    layers, heads, width, filters, codec_width = SIZES[arguments.size]
    model = make_bark(layers=layers, heads=heads, width=width, filters=filters, codec_width=codec_width)
    save_huggingface(model, arguments.directory)
    write_tokenizer(arguments.directory)


if __name__ == "__main__":
    main()
