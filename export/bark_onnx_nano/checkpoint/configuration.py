"""The checkpoint's configuration files, config.json and generation_config.json."""

from bark_onnx.model.sizes import TransformerSize

from ..training.codec import SIZE as CODEC
from ..training.transformer import SIZES
from ..units import VOCABULARY

_V = VOCABULARY


def configuration() -> dict[str, object]:
    """config.json. It leaves out what has the default value in transformers and in the exporter."""
    sizes = CODEC
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
    """generation_config.json, which holds the token space. It differs from the published one."""
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
