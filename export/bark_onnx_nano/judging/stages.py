"""Find the stage that makes word errors: the same sentences from true codes, from true semantic tokens, and from text.

    python -m bark_onnx_nano.judging.stages BUNDLE CODEBOOKS OUT.json [--sentences N] [--figures DIRECTORY]

CODEBOOKS is the checkpoint's `codebooks.safetensors`. With --figures, spectrograms of a few sentences are written to
DIRECTORY, the synthesizer's above nano's.
"""

import argparse
import json
from collections.abc import Sequence
from pathlib import Path

import numpy as np

from bark_onnx import Bark

from ..corpus.codebooks import Codebooks
from ..corpus.tokens import codes_of
from ..speech import mel
from ..text.sentences import held_out
from ..units import VOICE_NAMES, VOICES
from .measures import GREEDY, Wave, log_spectral_distance, synthesized, synthesized_tokens, word_error_figures

_FIGURES = 2  # sentences per voice
_SAME_LENGTH = ("codec", "codec_two_codebooks_given", "semantic_given")  # the speech is as long as the synthesizer's


def measure(
    bark: Bark, codebooks: Codebooks, sentences: Sequence[str], voice: str
) -> tuple[dict[str, object], list[tuple[Wave, Wave]]]:
    """Return the figures of one voice, and pairs of the synthesizer's and nano's speech."""
    own = [synthesized(sentence, voice) for sentence in sentences]
    preset = VOICE_NAMES[voice]
    true = [codes_of(codebooks, np.rint(wave * 32768).astype(np.int16)) for wave in own]
    spoken: dict[str, list[Wave]] = {
        "codec": [bark.decode(c) for c in true],
        "codec_two_codebooks_given": [bark.decode(bark.fine(c[:2], voice=preset, options=GREEDY)) for c in true],
        "semantic_given": [],
        "text": [bark.generate(sentence, voice=preset, options=GREEDY).waveform for sentence in sentences],
    }
    for sentence in sentences:
        coarse = bark.coarse(synthesized_tokens(sentence, voice), voice=preset, options=GREEDY)
        spoken["semantic_given"].append(bark.decode(bark.fine(coarse, voice=preset, options=GREEDY)))
    result: dict[str, object] = {"synthesizer": word_error_figures(sentences, own)}
    for stage, waves in spoken.items():
        result[stage] = word_error_figures(sentences, waves)
    for stage in _SAME_LENGTH:
        distances = [log_spectral_distance(made, wave) for made, wave in zip(spoken[stage], own, strict=True)]
        result[f"{stage}_log_spectral_distance_db"] = round(float(np.mean(distances)), 2)
    return result, list(zip(own, spoken["text"], strict=True))


def draw(pair: tuple[Wave, Wave], title: str, path: Path) -> None:
    """Write two spectrograms, one above the other, as an image."""
    import torch
    from matplotlib.figure import Figure

    figure = Figure(figsize=(7, 4), dpi=80, layout="constrained")
    axes = figure.subplots(2, 1, sharex=True)
    for axis, wave, name in zip(axes, pair, ("the synthesizer", "nano"), strict=True):
        spectrum = mel.magnitudes(torch.from_numpy(np.ascontiguousarray(wave, np.float32)), 1024, 120)
        extent = (0.0, len(wave) / mel.SAMPLE_RATE, 0.0, 12.0)
        decibels = 20 * np.log10(spectrum.numpy() + 1e-5)
        axis.imshow(decibels, origin="lower", aspect="auto", extent=extent, vmin=-90, vmax=-20, cmap="magma")
        axis.set_ylabel("kHz")
        axis.set_title(name, fontsize=8, loc="left")
    axes[1].set_xlabel("s")
    figure.suptitle(title, fontsize=9)
    path.parent.mkdir(parents=True, exist_ok=True)
    figure.savefig(path)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("bundle", type=Path)
    parser.add_argument("codebooks", type=Path)
    parser.add_argument("out", type=Path)
    parser.add_argument("--sentences", type=int, default=40)
    parser.add_argument("--figures", type=Path)
    arguments = parser.parse_args()
    sentences = held_out()[: arguments.sentences]
    bark, codebooks = Bark.load(arguments.bundle), Codebooks.load(arguments.codebooks)
    result: dict[str, object] = {"sentences": len(sentences)}
    for voice in VOICES:
        result[VOICE_NAMES[voice]], pairs = measure(bark, codebooks, sentences, voice)
        for n in range(_FIGURES if arguments.figures else 0):
            draw(pairs[n], sentences[n], arguments.figures / f"{VOICE_NAMES[voice]}-{n + 1}.png")
    arguments.out.write_text(json.dumps(result, indent=2) + "\n", encoding="utf-8")
    print(json.dumps(result, indent=2))


if __name__ == "__main__":
    main()
