"""Measure the choices that a device offers: where tokens are sampled, recorded decode steps, convolution algorithms.

    python -m bark_onnx_bench.choices BUNDLE [--device cuda] [--repeats N] [--json FILE]

The workloads are a coarse window of 60 codes after a full prompt, six fine passes over a window, and the codec over 384
frames. `host` copies the logits to the CPU and samples there. `device` samples on the device. `recorded` also makes
the CUDA provider record decode steps as CUDA graphs and replay them.
"""

import argparse
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np

from bark_onnx.errors import BarkError
from bark_onnx.graphs.device import CUDA, Device
from bark_onnx.graphs.networks import Networks
from bark_onnx.model.bundle import Bundle
from bark_onnx.model.voice import VoicePreset
from bark_onnx.sampling.distribution import random_stream
from bark_onnx.sampling.loops import Loops
from bark_onnx.sampling.sequence import FineWindow
from bark_onnx.stages.coarse import CoarseSequence
from bark_onnx.stages.options import GenerationOptions

from .machine.description import machine
from .machine.timing import Timing, timed
from .measure.workload import SEMANTIC_TOKENS
from .report.figures import write_figures

Work = Callable[[], object]
CONVOLUTIONS = ("EXHAUSTIVE", "HEURISTIC", "DEFAULT")  # how cuDNN's algorithm is found: try all, guess, take the first
SEED = 0


def loops(device: Device) -> dict[str, Device]:
    """Return the ways to sample that a device has, by name."""
    ways = {"host": replace(device, samples=False), "device": replace(device, samples=True)}
    if device.provider == CUDA:
        for way, recorded in (("device", "0"), ("recorded", "1")):
            ways[way] = replace(device, samples=True, options={**device.options, "enable_cuda_graph": recorded})
    return ways


def coarse_window(bundle: Bundle, device: Device) -> Work:
    """Return a function that generates one coarse window after a full history."""
    vocabulary = bundle.manifest.vocabulary
    networks, options = Networks(bundle, device), GenerationOptions()
    loop, context = Loops(networks).coarse, networks.sizes.coarse.context
    cache = loop.new_cache()
    semantic = np.random.default_rng(SEED).integers(0, vocabulary.semantic_size, SEMANTIC_TOKENS)

    def window() -> None:
        sequence = CoarseSequence(_voice(bundle), options, vocabulary, context, random_stream(SEED, "coarse"))
        sequence.feed(semantic.tolist(), ended=True)
        # Keep the previous call's prompt in the cache, except its last position: only the decode steps are timed.
        cache.lengths[0] = min(cache.lengths[0], vocabulary.coarse_semantic_window + 1 + options.max_coarse_history)
        errors = loop.begin(cache, sequence, sequence.begin_window())
        while sequence.in_window and not errors:
            errors = loop.step(cache, {0: sequence})
        for error in errors.values():
            raise error

    return window


def fine_window(bundle: Bundle, device: Device) -> Work:
    """Return a function that runs all fine passes over a full window."""
    vocabulary, loop = bundle.manifest.vocabulary, Loops(Networks(bundle, device)).fine
    shape = (vocabulary.fine_codebooks, vocabulary.fine_window)
    given = np.random.default_rng(SEED).integers(0, vocabulary.codebook_size, shape)
    new_frames = vocabulary.fine_window - vocabulary.fine_history
    uniforms = np.random.default_rng(SEED).random((new_frames, vocabulary.fine_codebooks))

    def window() -> None:
        for error in loop.fill([FineWindow(given.copy(), vocabulary.fine_history, uniforms, 0.5)], 2).values():
            raise error

    return window


def codec_whole(bundle: Bundle, device: Device) -> Work:
    """Return a function that decodes the workload's frames."""
    vocabulary, codec = bundle.manifest.vocabulary, Networks(bundle, device).codec
    frames = round(SEMANTIC_TOKENS * vocabulary.coarse_rate / vocabulary.semantic_rate)
    shape = (vocabulary.fine_codebooks, frames)
    codes = np.random.default_rng(SEED).integers(0, vocabulary.codebook_size, shape)
    return lambda: codec.decode(codes)


def alternate(ways: Mapping[str, Work], repeats: int) -> dict[str, Timing]:
    """Run every way once per round, for `repeats` rounds, after two warm-up runs of each.

    CUDA graphs are recorded during the warm-up.
    """
    for work in ways.values():
        timed(work, 2)
    rounds = [{name: timed(work, 1, 0).median for name, work in ways.items()} for _ in range(repeats)]
    return {name: Timing.of(own[name] for own in rounds) for name in ways}


def measure(bundle: Bundle, device: Device, repeats: int) -> dict[str, dict[str, Any]]:
    """Return the milliseconds of each way, by workload. A way that fails has its error message instead."""
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
        found[name] |= {way: timing.to_json() for way, timing in alternate(ways, repeats).items()}
    return found


def _opened(makers: Mapping[str, Callable[[], Work]]) -> tuple[dict[str, Work], dict[str, Any]]:
    """Load each way and run it once; return those that work, and the errors of the others."""
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
    """A voice of random tokens that fills the history of the coarse stage."""
    random, vocabulary = np.random.default_rng(SEED), bundle.manifest.vocabulary
    codes = random.integers(0, vocabulary.codebook_size, (vocabulary.fine_codebooks, vocabulary.max_coarse_history))
    return VoicePreset(random.integers(0, vocabulary.semantic_size, vocabulary.max_coarse_history), codes[:2], codes)


def parse(words: Sequence[str] | None = None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("bundle", type=Path)
    parser.add_argument("--device", default="cuda")
    parser.add_argument("--repeats", type=int, default=10)
    parser.add_argument("--json", type=Path, help="write the figures to this file")
    return parser.parse_args(words)


def main(words: Sequence[str] | None = None) -> None:
    arguments = parse(words)
    found = measure(Bundle.open(arguments.bundle), Device.choose(arguments.device), arguments.repeats)
    for workload, ways in found.items():
        for way, figures in ways.items():
            result = figures.get("error") or f"{figures['median_ms']:9.2f} ms"
            print(f"{workload:14} {way:12} {result}")
    if arguments.json:
        command = f"python -m bark_onnx_bench.choices {arguments.bundle.name} --device {arguments.device}"
        write_figures(arguments.json, {"command": command, "machine": machine(), "choices": found})


if __name__ == "__main__":
    main()
