"""The workload on this runtime and on transformers' BarkModel, in turn, from the same checkpoint.

    python -m bark_onnx_bench.peers CHECKPOINT BUNDLE [BUNDLE ...] [--bf16] [--repeats 3] [--json FILE]

Turn about, since these machines drift: every round runs each of them once, and only ratios within the run are compared.
"""

import argparse
import json
from collections.abc import Callable
from pathlib import Path
from statistics import median
from time import perf_counter
from typing import Any

import numpy as np
import torch
from transformers import BarkModel
from transformers.models.bark.generation_configuration_bark import (
    BarkCoarseGenerationConfig,
    BarkFineGenerationConfig,
    BarkSemanticGenerationConfig,
)

from bark_onnx import Bark

from .machine import machine
from .workload import SEMANTIC_TOKENS, run_once

Seconds = dict[str, float]
Peer = Callable[[int], Seconds]


def this_runtime(bundle: Path) -> Peer:
    """A bundle on the CPU: seconds by stage for a seed."""
    bark = Bark.load(bundle, device="cpu")
    return lambda seed: dict(run_once(bark, None, seed).timings)


def transformers_model(checkpoint: Path, dtype: torch.dtype) -> Peer:
    """BarkModel on the CPU, stage by stage as its `generate` calls them, on as many tokens as the workload has."""
    model = BarkModel.from_pretrained(checkpoint).eval().to(dtype)
    config = model.generation_config
    semantic = BarkSemanticGenerationConfig(**config.semantic_config)
    coarse = BarkCoarseGenerationConfig(**config.coarse_acoustics_config)
    fine = BarkFineGenerationConfig(**config.fine_acoustics_config)
    configs: dict[str, Any] = {"semantic_generation_config": semantic, "coarse_generation_config": coarse}
    sampled: dict[str, Any] = {"do_sample": True, "temperature": 0.7}
    # It would let the second codebook be any id from its first one on, pads included.
    pads = list(
        range(semantic.semantic_vocab_size + 2 * config.codebook_size, model.coarse_acoustics.config.input_vocab_size)
    )

    def run(seed: int) -> Seconds:
        torch.manual_seed(seed)
        seconds: Seconds = {}

        def timed(stage: str, work: Callable[[], Any]) -> Any:
            start = perf_counter()
            result = work()
            seconds[stage] = perf_counter() - start
            return result

        text = torch.full((1, semantic.max_input_semantic_length), 100)
        exactly = {"max_new_tokens": SEMANTIC_TOKENS, "min_new_tokens": SEMANTIC_TOKENS}
        with torch.inference_mode():
            tokens = timed(
                "semantic",
                lambda: model.semantic.generate(text, semantic_generation_config=semantic, **exactly, **sampled),
            )
            codes = timed(
                "coarse",
                lambda: model.coarse_acoustics.generate(
                    tokens, **configs, codebook_size=config.codebook_size, suppress_tokens=pads, **sampled
                ),
            )
            codes = timed(
                "fine",
                lambda: model.fine_acoustics.generate(
                    codes, **configs, fine_generation_config=fine, codebook_size=config.codebook_size, temperature=0.5
                ),
            )
            timed("codec", lambda: model.codec_decode(codes))
        return seconds

    return run


def compare(peers: dict[str, Peer], repeats: int) -> dict[str, Seconds]:
    """Median seconds by peer and stage, after a warm-up of each."""
    rounds = [{name: peer(seed) for name, peer in peers.items()} for seed in range(repeats + 1)][1:]
    return {
        name: {stage: median(measured[name][stage] for measured in rounds) for stage in rounds[0][name]}
        for name in peers
    }


def table(results: dict[str, Seconds], audio_seconds: float) -> str:
    """The results for a person to read; the last column is how many times faster than the first row each one is."""
    stages = list(next(iter(results.values())))
    first = sum(next(iter(results.values())).values())
    lines = [f"{'':24}" + "".join(f"{stage:>11}" for stage in (*stages, "RTF", "ratio"))]
    for name, seconds in results.items():
        total = sum(seconds.values())
        figures = "".join(f"{seconds[stage]:9.2f} s" for stage in stages)
        lines.append(f"{name:24}{figures}{total / audio_seconds:11.2f}{first / total:10.1f}x")
    return "\n".join(lines)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("checkpoint", type=Path, help="in Hugging Face's layout")
    parser.add_argument("bundles", type=Path, nargs="+")
    parser.add_argument("--bf16", action="store_true", help="transformers in bfloat16 too")
    parser.add_argument("--repeats", type=int, default=3)
    parser.add_argument("--json", type=Path)
    arguments = parser.parse_args()
    peers = {"transformers fp32": transformers_model(arguments.checkpoint, torch.float32)}
    if arguments.bf16:
        peers["transformers bf16"] = transformers_model(arguments.checkpoint, torch.bfloat16)
    peers |= {bundle.name: this_runtime(bundle) for bundle in arguments.bundles}
    results = compare(peers, arguments.repeats)
    audio_seconds = float(np.floor(SEMANTIC_TOKENS * 75 / 49.9)) / 75
    print(table(results, audio_seconds))
    if arguments.json:
        rest = " ".join(bundle.name for bundle in arguments.bundles) + (" --bf16" if arguments.bf16 else "")
        figures = {
            "command": f"python -m bark_onnx_bench.peers {arguments.checkpoint.name} {rest}",
            "machine": machine(),
            "audio_seconds": audio_seconds,
            "median_seconds": {
                name: {stage: round(value, 4) for stage, value in seconds.items()} for name, seconds in results.items()
            },
        }
        arguments.json.write_text(json.dumps(figures, indent=2) + "\n")


if __name__ == "__main__":
    main()
