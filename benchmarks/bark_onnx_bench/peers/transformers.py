"""transformers' BarkModel as a peer. The stages are called one by one, as its `generate` calls them, and timed."""

from collections.abc import Callable
from pathlib import Path
from time import perf_counter
from typing import Any

import torch
import transformers
from transformers import BarkModel
from transformers.models.bark.generation_configuration_bark import (
    BarkCoarseGenerationConfig,
    BarkFineGenerationConfig,
    BarkSemanticGenerationConfig,
)

from bark_onnx import VoicePreset

from ..measure.workload import SEMANTIC_TOKENS
from .comparison import Peer, PeerRun, Seconds


def transformers_peer(
    checkpoint: Path, dtype: torch.dtype, device: str = "cpu", voice: VoicePreset | None = None, *, static: bool = False
) -> Peer:
    """BarkModel on a torch device in this number format. With a `static` KV cache it is compiled on GPUs."""
    name = {torch.float32: "fp32", torch.bfloat16: "bf16", torch.float16: "fp16"}[dtype]
    model = BarkModel.from_pretrained(checkpoint).eval().to(device, dtype)
    version = f"transformers {transformers.__version__}, torch {torch.__version__}"
    return Peer(f"transformers {name}{', static cache' if static else ''}", version, _runner(model, voice, static))


def _runner(model: BarkModel, voice: VoicePreset | None, static: bool) -> Callable[[int], PeerRun]:
    config: Any = model.generation_config
    semantic = BarkSemanticGenerationConfig(**config.semantic_config)
    coarse = BarkCoarseGenerationConfig(**config.coarse_acoustics_config)
    fine = BarkFineGenerationConfig(**config.fine_acoustics_config)
    configs: dict[str, Any] = {"semantic_generation_config": semantic, "coarse_generation_config": coarse}
    sampled: dict[str, Any] = {"do_sample": True, "temperature": 0.7}
    sampled |= {"cache_implementation": "static"} if static else {}
    history: dict[str, Any] = {}
    if voice is not None:
        prompt = {name: torch.tensor(array, device=model.device) for name, array in voice.to_prompt().items()}
        history["history_prompt"] = prompt
    # transformers lets the second codebook be any id from its first one upwards, so suppress the ids above it.
    pads = list(
        range(semantic.semantic_vocab_size + 2 * config.codebook_size, model.coarse_acoustics.config.input_vocab_size)
    )

    def run(seed: int) -> PeerRun:
        torch.manual_seed(seed)
        seconds: Seconds = {}

        def timed(stage: str, work: Callable[[], Any]) -> Any:
            start = perf_counter()
            result = work()
            if model.device.type == "cuda":
                torch.cuda.synchronize()
            seconds[stage] = perf_counter() - start
            return result

        text = torch.full((1, semantic.max_input_semantic_length), 100, device=model.device)
        length: dict[str, Any] = {"max_new_tokens": SEMANTIC_TOKENS, "min_new_tokens": SEMANTIC_TOKENS}
        with torch.inference_mode():
            tokens = timed(
                "semantic",
                lambda: model.semantic.generate(
                    text, semantic_generation_config=semantic, **history, **length, **sampled
                ),
            )
            codes = timed(
                "coarse",
                lambda: model.coarse_acoustics.generate(
                    tokens, **configs, codebook_size=config.codebook_size, suppress_tokens=pads, **history, **sampled
                ),
            )
            codes = timed(
                "fine",
                lambda: model.fine_acoustics.generate(
                    codes,
                    **configs,
                    **history,
                    fine_generation_config=fine,
                    codebook_size=config.codebook_size,
                    temperature=0.5,
                ),
            )
            audio = timed("codec", lambda: model.codec_decode(codes))
        return PeerRun(seconds, audio.shape[-1] / model.codec_model.config.sampling_rate)

    return run
