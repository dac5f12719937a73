"""What facebookresearch/encodec computes. A program of its own, because its `torchaudio` stays an empty module.

    python tests/meta_encodec.py DIRECTORY

The package imports torchaudio, which does not load with the current torch. Its model does not use torchaudio.

Writes DIRECTORY/encodec_24khz-random.th, a model of the published sizes with random weights, and DIRECTORY/N.npz for
each N of FRAMES: `codes` [8, N] and their `waveform` [320 N].
"""

import sys
import types
from pathlib import Path

import numpy as np
import torch

FRAMES = (1, 4, 150)  # fewer than the first convolution sees; fewer than its reflection needs; more than one run
CODEBOOKS = 8  # which Bark predicts; the published codec has 32
WEIGHTS = "encodec_24khz-random.th"


def random_model() -> torch.nn.Module:
    """Return Meta's model of 24 kHz, whose LSTM and codebooks matter for the waveform."""
    sys.modules["torchaudio"] = types.ModuleType("torchaudio")
    from encodec import EncodecModel

    torch.manual_seed(11)
    model: torch.nn.Module = EncodecModel.encodec_model_24khz(pretrained=False).eval().requires_grad_(False)
    for name, tensor in model.state_dict().items():
        if name.endswith("_codebook.embed"):  # zero until training
            tensor.normal_()
        elif name.endswith("conv.bias"):
            tensor.normal_(std=0.05)
        elif ".lstm." in name:
            tensor.mul_(4)
        elif name.endswith("weight_g"):
            tensor.mul_(1.3)
    return model


def main(directory: Path) -> None:
    torch.set_num_threads(1)
    model = random_model()
    torch.save(model.state_dict(), directory / WEIGHTS)
    random = np.random.default_rng(11)
    for frames in FRAMES:
        codes = random.integers(0, 1024, (CODEBOOKS, frames))
        # As `codec_decode` of suno-ai/bark calls it.
        embedded = model.quantizer.decode(torch.from_numpy(codes)[:, None])
        waveform = model.decoder(embedded)[0, 0].numpy()
        np.savez(directory / f"{frames}.npz", codes=codes, waveform=waveform)


if __name__ == "__main__":
    main(Path(sys.argv[1]))
