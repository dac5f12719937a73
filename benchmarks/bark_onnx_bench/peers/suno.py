"""suno-ai/bark as a peer, from its package or a checkout, without its downloads.

Its `generation` module keeps its models in a dictionary, which it fills from the hub. Here the dictionary is filled
with the same classes and the weights of a local checkpoint; then Suno's own functions run, with their KV cache on. Two
parts are replaced. The tokenizer would be downloaded: the text is 20 fixed ids instead, padded as usual. The `encodec`
package does not load beside current torch: `codec_decode` runs on transformers' EnCodec with the same weights.
"""

import functools
import importlib
import importlib.util
import subprocess
import sys
import types
from collections.abc import Callable
from pathlib import Path
from time import perf_counter
from typing import Any

import torch
from transformers import BarkModel

from bark_onnx.errors import BarkError
from bark_onnx.model.manifest import STAGES

from ..checkpoints.suno import suno_arguments, suno_tensors
from ..measure.workload import SEMANTIC_TOKENS
from .comparison import Peer, PeerRun

NOTE = "its codec_decode runs on transformers' EnCodec, since the encodec package does not load beside current torch"


class _Tokenizer:
    """Replaces the hub's tokenizer: returns the same ids for every text."""

    def encode(self, text: str, add_special_tokens: bool = False) -> list[int]:
        return [100 + n for n in range(20)]


def is_importable() -> bool:
    """Whether suno-ai/bark is installed."""
    spec = importlib.util.find_spec("bark")
    folders = spec.submodule_search_locations if spec is not None else None
    return any((Path(folder) / "generation.py").is_file() for folder in folders or [])


def suno_peer(checkpoint: Path, checkout: Path | None = None, device: str = "cpu") -> Peer:
    """suno-ai/bark: fp32 on the CPU, the only format it has there; on a GPU it chooses bf16 where the GPU supports it.

    Args:
        checkpoint: in Hugging Face's layout.
        checkout: a clone of suno-ai/bark; None for the installed package.
        device: a torch device.
    """
    generation = _import(checkout)
    model = BarkModel.from_pretrained(checkpoint).eval().to(device)
    networks = {
        "text": (model.semantic, generation.GPT, generation.GPTConfig),
        "coarse": (model.coarse_acoustics, generation.GPT, generation.GPTConfig),
        "fine": (model.fine_acoustics, generation.FineGPT, generation.FineGPTConfig),
    }
    for name, (network, kind, config) in networks.items():
        own = kind(config(**suno_arguments(network.config))).eval().to(device)
        missing, unexpected = own.load_state_dict(suno_tensors(network), strict=False)
        wrong = [key for key in (*missing, *unexpected) if not key.endswith(".attn.bias")]  # the causal mask
        if wrong:
            raise BarkError(f"suno-ai/bark's {name} model does not fit this checkpoint: {', '.join(wrong[:3])}")
        generation.models[name] = {"model": own, "tokenizer": _Tokenizer()} if name == "text" else own
    generation.models["codec"] = model.codec_model
    return Peer(
        "suno-ai/bark fp32" if device == "cpu" else "suno-ai/bark", _version(generation), _runner(generation), NOTE
    )


def _import(checkout: Path | None) -> Any:
    """Import `bark.generation`, with empty modules for packages it imports that are not needed and not installed."""
    if checkout is not None:
        if not (checkout / "bark" / "generation.py").is_file():
            raise BarkError(f"{checkout} is not a checkout of suno-ai/bark (no bark/generation.py)")
        sys.path.insert(0, str(checkout.absolute()))
    stand_ins: dict[str, dict[str, Any]] = {"encodec": {"EncodecModel": None}, "funcy": {"partial": functools.partial}}
    absent = {name: types.ModuleType(name) for name in stand_ins if not _loads(name)}
    for name, module in absent.items():
        vars(module).update(stand_ins[name])
    sys.modules.update(absent)
    try:
        return importlib.import_module("bark.generation")
    except ImportError as error:
        raise BarkError(f"suno-ai/bark cannot be imported: install {error.name}") from None
    finally:
        for name in absent:
            del sys.modules[name]
        if checkout is not None:
            sys.path.remove(str(checkout.absolute()))


def _loads(name: str) -> bool:
    """Whether a package can be imported. encodec never can: its torchaudio would break transformers too."""
    return name != "encodec" and importlib.util.find_spec(name) is not None


def _version(generation: Any) -> str:
    folder = Path(generation.__file__).parent
    git = ["git", "-C", str(folder), "rev-parse", "--short=12", "HEAD"]
    try:
        commit = subprocess.run(git, capture_output=True, text=True, check=True).stdout.strip()
    except (OSError, subprocess.CalledProcessError):
        commit = "an unknown commit"
    return f"suno-ai/bark at {commit}, torch {torch.__version__}"


def _runner(generation: Any) -> Callable[[int], PeerRun]:
    seconds_of_speech = (SEMANTIC_TOKENS - 0.5) / generation.SEMANTIC_RATE_HZ
    length = {"allow_early_stop": False, "max_gen_duration_s": seconds_of_speech}
    cached = {"use_kv_caching": True, "silent": True}

    def run(seed: int) -> PeerRun:
        torch.manual_seed(seed)
        times = [perf_counter()]
        semantic = generation.generate_text_semantic("Hello.", **length, **cached)
        times.append(perf_counter())
        coarse = generation.generate_coarse(semantic, **cached)
        times.append(perf_counter())
        fine = generation.generate_fine(coarse, silent=True)
        times.append(perf_counter())
        with torch.inference_mode():
            audio = generation.codec_decode(fine)
        times.append(perf_counter())
        seconds = {stage: times[n + 1] - times[n] for n, stage in enumerate(STAGES)}
        return PeerRun(seconds, len(audio) / generation.SAMPLE_RATE)

    return run
