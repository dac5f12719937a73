"""What pays on a device, in turns: where tokens are sampled, if decode steps are recorded, how convolutions are found.

    python -m bark_onnx_bench.choices BUNDLE [--device cuda] [--repeats N] [--json FILE]

A coarse window of 60 codes behind a full prompt; six fine passes over a window; the codec over 384 frames. `host` reads
the logits back and samples them there, `device` samples on the device, `recorded` also has the CUDA provider replay
decode steps as CUDA graphs.
"""

import argparse
import json
from collections.abc import Callable, Mapping
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np

from bark_onnx.errors import BarkError
from bark_onnx.files import replacing
from bark_onnx.graphs.device import CUDA, Device
from bark_onnx.graphs.networks import Networks
from bark_onnx.model.bundle import Bundle
from bark_onnx.model.voice import VoicePreset
from bark_onnx.sampling.distribution import random_stream
from bark_onnx.sampling.loops import Loops
from bark_onnx.sampling.sequence import FineWindow
from bark_onnx.stages.coarse import CoarseSequence
from bark_onnx.stages.options import GenerationOptions

from .machine import machine
from .timing import Timing, timed
from .workload import SEMANTIC_TOKENS

Work = Callable[[], object]
CONVOLUTIONS = ("EXHAUSTIVE", "HEURISTIC", "DEFAULT")  # of cuDNN's algorithms: try all, guess, take the first
SEED = 0


def loops(device: Device) -> dict[str, Device]:
    """The ways to sample that a device has."""
    ways = {"host": replace(device, samples=False), "device": replace(device, samples=True)}
    if device.provider == CUDA:
        ways["recorded"] = replace(ways["device"], options={**device.options, "enable_cuda_graph": "1"})
    return ways


def coarse_window(bundle: Bundle, device: Device) -> Work:
    """One window after another behind a full history."""
    space = bundle.manifest.vocabulary
    networks, options = Networks(bundle, device), GenerationOptions()
    loop, context = Loops(networks).coarse, networks.sizes.coarse.context
    cache = loop.new_cache()
    said = np.random.default_rng(SEED).integers(0, space.semantic_size, SEMANTIC_TOKENS)

    def window() -> None:
        sequence = CoarseSequence(_voice(bundle), options, space, context, random_stream(SEED, "coarse"))
        sequence.feed(said.tolist(), ended=True)
        # The prompt is held from the time before, but for its last position: what is timed is the steps.
        cache.lengths[0] = min(cache.lengths[0], space.coarse_semantic_window + 1 + options.max_coarse_history)
        errors = loop.begin(cache, sequence, sequence.begin_window())
        while sequence.in_window and not errors:
            errors = loop.step(cache, {0: sequence})
        for error in errors.values():
            raise error

    return window


def fine_window(bundle: Bundle, device: Device) -> Work:
    """All passes over a full window."""
    space, loop = bundle.manifest.vocabulary, Loops(Networks(bundle, device)).fine
    given = np.random.default_rng(SEED).integers(0, space.codebook_size, (space.fine_codebooks, space.fine_window))
    uniforms = np.random.default_rng(SEED).random((space.fine_window - space.fine_history, space.fine_codebooks))

    def window() -> None:
        for error in loop.fill([FineWindow(given.copy(), space.fine_history, uniforms, 0.5)], 2).values():
            raise error

    return window


def codec_whole(bundle: Bundle, device: Device) -> Work:
    """The workload's frames."""
    space, codec = bundle.manifest.vocabulary, Networks(bundle, device).codec
    frames = round(SEMANTIC_TOKENS * space.coarse_rate / space.semantic_rate)
    codes = np.random.default_rng(SEED).integers(0, space.codebook_size, (space.fine_codebooks, frames))
    return lambda: codec.decode(codes)


def in_turns(ways: Mapping[str, Work], repeats: int) -> dict[str, Timing]:
    """Each way once, then again, after a warm-up of each that records what is to be recorded."""
    for work in ways.values():
        timed(work, 2)
    rounds = [{name: timed(work, 1, 0).median for name, work in ways.items()} for _ in range(repeats)]
    return {name: Timing.of(own[name] for own in rounds) for name in ways}


def measure(bundle: Bundle, device: Device, repeats: int) -> dict[str, dict[str, Any]]:
    """By what is chosen, by choice: milliseconds. A way that does not run has its error instead."""
    by_loop = loops(device)
    makers: dict[str, dict[str, Callable[[], Work]]] = {
        "coarse window": {way: partial(coarse_window, bundle, own) for way, own in by_loop.items()},
        "fine window": {way: partial(fine_window, bundle, own) for way, own in by_loop.items()},
    }
    if device.provider == CUDA:
        options = [(search, {**device.options, "cudnn_conv_algo_search": search}) for search in CONVOLUTIONS]
        makers["codec"] = {
            search: partial(codec_whole, bundle, replace(device, options=own)) for search, own in options
        }
    found: dict[str, dict[str, Any]] = {}
    for name, own in makers.items():
        ways, found[name] = _opened(own)
        found[name] |= {way: timing.to_json() for way, timing in in_turns(ways, repeats).items()}
    return found


def _opened(makers: Mapping[str, Callable[[], Work]]) -> tuple[dict[str, Work], dict[str, Any]]:
    """What loads and runs once, and why the others do not."""
    ways: dict[str, Work] = {}
    failed: dict[str, Any] = {}
    for name, make in makers.items():
        try:
            work = make()
            work()
            ways[name] = work
        except BarkError as error:
            failed[name] = {"error": str(error)}
    return ways, failed


def _voice(bundle: Bundle) -> VoicePreset:
    """A voice that fills the coarse stage's history."""
    random, space = np.random.default_rng(SEED), bundle.manifest.vocabulary
    codes = random.integers(0, space.codebook_size, (space.fine_codebooks, space.max_coarse_history))
    return VoicePreset(random.integers(0, space.semantic_size, space.max_coarse_history), codes[:2], codes)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("bundle", type=Path)
    parser.add_argument("--device", default="cuda")
    parser.add_argument("--repeats", type=int, default=10)
    parser.add_argument("--json", type=Path)
    arguments = parser.parse_args()
    found = measure(Bundle.open(arguments.bundle), Device.choose(arguments.device), arguments.repeats)
    for what, ways in found.items():
        for way, figures in ways.items():
            said = figures.get("error") or f"{figures['median_ms']:9.2f} ms"
            print(f"{what:14} {way:12} {said}")
    if arguments.json:
        command = f"python -m bark_onnx_bench.choices {arguments.bundle.name} --device {arguments.device}"
        report = {"command": command, "machine": machine(), "choices": found}
        with replacing(arguments.json) as temporary:
            temporary.write_text(json.dumps(report, indent=2) + "\n")


if __name__ == "__main__":
    main()
