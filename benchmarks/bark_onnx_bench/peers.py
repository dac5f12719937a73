"""The workload on this runtime and on the other ways to run Bark, in turn, from the same checkpoint.

    python -m bark_onnx_bench.peers CHECKPOINT BUNDLE [BUNDLE ...] [--bf16] [--static] [--suno DIR]
        [--bark-cpp BINARY --bark-cpp-model FILE] [--device cpu] [--repeats 3] [--json FILE]

transformers fp32 (on a GPU fp16) always runs, in bf16 or with a static cache too if asked to; suno-ai/bark where its
package is installed or a checkout is given; bark.cpp where a built binary is given, with a model file that its own
tools made from the same checkpoint. Turn about, since these machines drift: every round runs each of them once, and
only ratios within the run are compared.
"""

import argparse
import json
import sys
from pathlib import Path

import torch

from bark_onnx import Bark, BarkError, __version__
from bark_onnx.files import replacing

from .comparison import Peer, PeerRun, compare, table
from .machine import machine
from .peer_bark_cpp import bark_cpp_peer
from .peer_suno import is_importable, suno_peer
from .peer_transformers import transformers_peer
from .workload import run_once


def this_runtime(bundle: Path, device: str = "cpu") -> Peer:
    """A bundle on a device."""
    bark = Bark.load(bundle, device=device)

    def run(seed: int) -> PeerRun:
        speech = run_once(bark, None, seed)
        return PeerRun(dict(speech.timings), speech.duration)

    return Peer(bundle.name, f"bark-onnx {__version__}, {bark.bundle.manifest.precision}", run)


def gather(arguments: argparse.Namespace, threads: int) -> list[Peer]:
    """All that were asked for and all that are here: transformers in fp32, on a GPU in fp16."""
    checkpoint, device = arguments.checkpoint, arguments.device
    widest = torch.float32 if device == "cpu" else torch.float16
    peers = [transformers_peer(checkpoint, widest, device)]
    if arguments.static:
        peers.append(transformers_peer(checkpoint, widest, device, static=True))
    if arguments.bf16:
        peers.append(transformers_peer(checkpoint, torch.bfloat16, device))
    if arguments.suno is not None or is_importable():
        peers.append(suno_peer(checkpoint, arguments.suno, device))
    if arguments.bark_cpp is not None:
        peers.append(bark_cpp_peer(arguments.bark_cpp, arguments.bark_cpp_model, threads))
    return peers + [this_runtime(bundle, device) for bundle in arguments.bundles]


def parse(words: list[str] | None = None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("checkpoint", type=Path, help="in Hugging Face's layout")
    parser.add_argument("bundles", type=Path, nargs="+")
    parser.add_argument("--device", default="cpu", help="cpu, or cuda or cuda:1 for what runs there")
    parser.add_argument("--bf16", action="store_true", help="transformers in bfloat16 too")
    parser.add_argument("--static", action="store_true", help="transformers with a static cache too")
    parser.add_argument("--suno", type=Path, metavar="DIR", help="a checkout of suno-ai/bark")
    parser.add_argument("--bark-cpp", type=Path, metavar="BINARY", help="bark.cpp's built examples/main")
    parser.add_argument("--bark-cpp-model", type=Path, metavar="FILE", help="ggml weights for it")
    parser.add_argument("--repeats", type=int, default=3)
    parser.add_argument("--json", type=Path)
    arguments = parser.parse_args(words)
    if (arguments.bark_cpp is None) != (arguments.bark_cpp_model is None):
        parser.error("--bark-cpp and --bark-cpp-model belong together")
    if arguments.repeats < 1:
        parser.error("--repeats must be at least 1")
    return arguments


def command(arguments: argparse.Namespace) -> str:
    """What was asked for, without this machine's paths."""
    words = [arguments.checkpoint.name, *(bundle.name for bundle in arguments.bundles)]
    words += ["--device", arguments.device] if arguments.device != "cpu" else []
    words += ["--bf16"] if arguments.bf16 else []
    words += ["--static"] if arguments.static else []
    words += ["--suno", "DIR"] if arguments.suno else []
    words += ["--bark-cpp", "BINARY", "--bark-cpp-model", arguments.bark_cpp_model.name] if arguments.bark_cpp else []
    return " ".join(["python -m bark_onnx_bench.peers", *words, f"--repeats {arguments.repeats}"])


def main(words: list[str] | None = None) -> None:
    arguments = parse(words)
    if arguments.json is not None and not arguments.json.parent.is_dir():
        sys.exit(f"peers: {arguments.json.parent} is not a directory")
    try:
        here = machine()
        results = compare(gather(arguments, here["cores"]), arguments.repeats)
    except BarkError as error:
        sys.exit(f"peers: {error}")
    print(f"{here['processor']}, {here['cores']} cores, {here['read_bandwidth_gb_s']} GB/s")
    print(table(results))
    if arguments.json is not None:
        figures = {
            "command": command(arguments),
            "machine": here,
            "rounds": arguments.repeats,
            "peers": [result.to_json() for result in results],
        }
        with replacing(arguments.json) as temporary:
            temporary.write_text(json.dumps(figures, indent=2) + "\n")


if __name__ == "__main__":
    main()
