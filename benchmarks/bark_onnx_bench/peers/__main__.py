"""Run the workload on this runtime and on the other ways to run Bark, from the same checkpoint.

    python -m bark_onnx_bench.peers CHECKPOINT BUNDLE [BUNDLE ...] [--bf16] [--static] [--suno DIR]
        [--bark-cpp BINARY --bark-cpp-model FILE] [--voice FILE] [--device cpu] [--repeats 3] [--json FILE]

transformers always runs in fp32 (on a GPU in fp16); with --bf16 and --static it also runs in bf16 and with a static
cache. suno-ai/bark runs if its package is installed or a checkout is given. bark.cpp runs if a built binary is given,
with a model file that its own tools converted from the same checkpoint. Every round runs each of them once, because
the speed of a machine drifts; only ratios within the run are compared.
"""

import argparse
import sys
from pathlib import Path

import torch

from bark_onnx import Bark, BarkError, VoicePreset, __version__

from ..machine.description import machine, machine_line
from ..measure.workload import run_once
from ..report.figures import write_figures
from .bark_cpp import bark_cpp_peer
from .comparison import Peer, PeerRun, compare, table
from .suno import is_importable, suno_peer
from .transformers import transformers_peer


def this_runtime(bundle: Path, device: str = "cpu", voice: VoicePreset | None = None) -> Peer:
    """bark-onnx with a bundle on a device."""
    bark = Bark.load(bundle, device=device)

    def run(seed: int) -> PeerRun:
        speech = run_once(bark, voice, seed)
        return PeerRun(dict(speech.timings), speech.duration)

    return Peer(bundle.name, f"bark-onnx {__version__}, {bark.bundle.manifest.precision}", run)


def gather(arguments: argparse.Namespace, threads: int) -> list[Peer]:
    """Return the peers that were asked for and those that are installed, this runtime last."""
    checkpoint, device = arguments.checkpoint, arguments.device
    default = torch.float32 if device == "cpu" else torch.float16
    voice = None if arguments.voice is None else VoicePreset.load(arguments.voice)
    peers = [transformers_peer(checkpoint, default, device, voice)]
    if arguments.static:
        peers.append(transformers_peer(checkpoint, default, device, voice, static=True))
    if arguments.bf16:
        peers.append(transformers_peer(checkpoint, torch.bfloat16, device, voice))
    if arguments.suno is not None or (voice is None and is_importable()):
        peers.append(suno_peer(checkpoint, arguments.suno, device))
    if arguments.bark_cpp is not None:
        peers.append(bark_cpp_peer(arguments.bark_cpp, arguments.bark_cpp_model, threads))
    return peers + [this_runtime(bundle, device, voice) for bundle in arguments.bundles]


def parse(words: list[str] | None = None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("checkpoint", type=Path, help="in Hugging Face's layout")
    parser.add_argument("bundles", type=Path, nargs="+")
    parser.add_argument("--device", default="cpu", help="cpu, cuda or cuda:1; bark.cpp always runs on the CPU")
    parser.add_argument("--bf16", action="store_true", help="also run transformers in bfloat16")
    parser.add_argument("--static", action="store_true", help="also run transformers with a static cache")
    parser.add_argument("--suno", type=Path, metavar="DIR", help="a checkout of suno-ai/bark")
    parser.add_argument("--bark-cpp", type=Path, metavar="BINARY", help="bark.cpp's built examples/main")
    parser.add_argument("--bark-cpp-model", type=Path, metavar="FILE", help="ggml weights for it")
    parser.add_argument("--voice", type=Path, metavar="FILE", help="a voice preset; for transformers and this runtime")
    parser.add_argument("--repeats", type=int, default=3)
    parser.add_argument("--json", type=Path, help="write the figures to this file")
    arguments = parser.parse_args(words)
    if (arguments.bark_cpp is None) != (arguments.bark_cpp_model is None):
        parser.error("--bark-cpp and --bark-cpp-model belong together: give both or neither")
    if arguments.voice is not None and (arguments.suno is not None or arguments.bark_cpp is not None):
        parser.error("--voice is for transformers and this runtime: leave out --suno and --bark-cpp")
    if arguments.repeats < 1:
        parser.error("--repeats must be at least 1")
    return arguments


def command(arguments: argparse.Namespace) -> str:
    """The command line without paths of this machine."""
    words = [arguments.checkpoint.name, *(bundle.name for bundle in arguments.bundles)]
    words += ["--device", arguments.device] if arguments.device != "cpu" else []
    words += ["--bf16"] if arguments.bf16 else []
    words += ["--static"] if arguments.static else []
    words += ["--suno", "DIR"] if arguments.suno else []
    words += ["--bark-cpp", "BINARY", "--bark-cpp-model", arguments.bark_cpp_model.name] if arguments.bark_cpp else []
    words += ["--voice", arguments.voice.stem] if arguments.voice else []
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
    print(machine_line(here))
    print(table(results))
    if arguments.json is not None:
        figures = {
            "command": command(arguments),
            "machine": here,
            "rounds": arguments.repeats,
            "peers": [result.to_json() for result in results],
        }
        write_figures(arguments.json, figures)


if __name__ == "__main__":
    main()
