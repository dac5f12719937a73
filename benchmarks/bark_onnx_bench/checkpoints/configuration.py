"""The configurations of a generated Bark: sizes, token space, generation config."""

import math
from dataclasses import dataclass

from transformers import BarkConfig, EncodecConfig, GenerationConfig
from transformers.models.bark.generation_configuration_bark import (
    BarkCoarseGenerationConfig,
    BarkFineGenerationConfig,
    BarkSemanticGenerationConfig,
)

from bark_onnx.model.vocabulary import Vocabulary

# A token space of its own: the networks are a few kilobytes large, with the published windows, rates and frames.
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
RATIOS = [8, 5, 4, 2]  # of the codec's upsampling


@dataclass(frozen=True)
class BarkSize:
    """Layers, heads and width of the three transformers; filters and width of the codec."""

    layers: int
    heads: int
    width: int
    codec_filters: int
    codec_width: int


# small and large are the published sizes.
SIZES = {
    "tiny": BarkSize(2, 2, 32, 4, 16),
    "small": BarkSize(12, 12, 768, 32, 128),
    "large": BarkSize(24, 16, 1024, 32, 128),
}


def bark_config(size: BarkSize, v: Vocabulary, *, bias: bool) -> BarkConfig:
    """config.json of a Bark of this size and token space.

    Args:
        bias: whether the linear layers and LayerNorms of the transformers have a bias.
    """
    coarse_context = v.coarse_semantic_window + 1 + v.max_coarse_history + SLIDING_WINDOW
    transformer = {
        "num_layers": size.layers,
        "num_heads": size.heads,
        "hidden_size": size.width,
        "bias": bias,
        "block_size": max(v.text_window + v.max_semantic_tokens, coarse_context, v.fine_window),
    }
    coarse_ids = 64 * math.ceil((max(v.coarse_semantic_pad, v.coarse_infer) + 1) / 64)
    fine_ids = v.codebook_size + 32
    frame_bits = math.ceil(v.sample_rate / math.prod(RATIOS)) * math.ceil(math.log2(v.codebook_size))
    codec = EncodecConfig(
        sampling_rate=v.sample_rate,
        num_filters=size.codec_filters,
        hidden_size=size.codec_width,
        codebook_size=v.codebook_size,
        upsampling_ratios=RATIOS,
        target_bandwidths=[(v.fine_codebooks + UNUSED_CODEBOOKS + 0.5) * frame_bits / 1000],
    )
    return BarkConfig(
        semantic_config=transformer
        | {"input_vocab_size": max(v.text_pad, v.semantic_infer) + 1, "output_vocab_size": v.text_offset},
        coarse_acoustics_config=transformer | {"input_vocab_size": coarse_ids, "output_vocab_size": coarse_ids},
        fine_acoustics_config=transformer
        | {"input_vocab_size": fine_ids, "output_vocab_size": fine_ids, "n_codes_total": v.fine_codebooks},
        codec_config=codec.to_dict(),
    )


def generation_config(v: Vocabulary) -> GenerationConfig:
    """generation_config.json as `BarkModel.from_pretrained` reads it: its sections are plain dictionaries."""
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
