"""Write the trained networks as a checkpoint: fp16 safetensors, configurations, tokenizer and voices.

EnCodec's encoder is left out: no codes were made with one, and speaking needs only its decoder and codebooks. The
codebooks that encoded the log-mel frames are written to a file of their own.
"""

import json
import shutil
from pathlib import Path

from safetensors.torch import save_file
from torch import Tensor

from bark_onnx_export.modules.codec import CodecModule

from ..corpus import codebooks
from ..corpus.tokens import Tokens
from ..text import tokenizer
from ..training.codec import SIZE as CODEC
from ..training.loop import load
from ..training.transformer import build
from ..units import VOICE_NAMES
from .configuration import configuration, generation_configuration
from .tensors import codec_tensors, transformer_tensors

SECTIONS = {"semantic": "semantic", "coarse": "coarse_acoustics", "fine": "fine_acoustics"}


def write(work: Path, out: Path, tokens: Tokens, presets: dict[str, int]) -> None:
    """Write the checkpoint.

    Args:
        work: the folder with the trained networks.
        out: the folder of the checkpoint.
        presets: for each voice the index in `tokens` of its preset.
    """
    out.mkdir(parents=True, exist_ok=True)
    tensors: dict[str, Tensor] = {}
    for stage, section in SECTIONS.items():
        own = transformer_tensors(load(build(stage), work / f"{stage}.pt"), stage)
        tensors |= {f"{section}.{name}": tensor for name, tensor in own.items()}
    decoder = load(CodecModule(CODEC), work / "codec.pt")
    tensors |= {f"codec_model.{name}": tensor for name, tensor in codec_tensors(decoder)}
    halves = {name: tensor.detach().half().contiguous() for name, tensor in tensors.items()}
    save_file(halves, out / "model.safetensors", metadata={"format": "pt"})
    _write_json(out / "config.json", configuration())
    _write_json(out / "generation_config.json", generation_configuration())
    tokenizer.write(out / "tokenizer.json")
    shutil.copyfile(work / codebooks.FILE, out / codebooks.FILE)
    for voice, name in VOICE_NAMES.items():
        target = out / "speaker_embeddings" / f"{name}.npz"
        target.parent.mkdir(exist_ok=True)
        tokens.preset(presets[voice]).save(target)


def _write_json(path: Path, value: dict[str, object]) -> None:
    path.write_text(json.dumps(value, indent=2) + "\n", encoding="utf-8")
