"""Measure how good a bundle is: word errors, voices, lengths. The result is JSON.

    python -m bark_onnx_nano.judging.evaluate BUNDLE OUT.json [--sentences N] [--voice slt|rms]

The reference is the synthesizer itself on the same sentences, which are not in the training data. The runtime generates
each sentence from the bundle, as users do, with each voice. Sampled speech and the synthesizer's speech depend on
chance (its excitation is noise), so both are measured on several takes.
"""

import argparse
import json
import time
from collections.abc import Sequence
from pathlib import Path

import numpy as np

from bark_onnx import Bark, GenerationOptions

from ..speech.synthesis import SAMPLE_RATE
from ..text.sentences import held_out
from ..units import VOICE_NAMES, VOICES, phones, voice_of
from .measures import GREEDY, Wave, synthesized, synthesized_tokens, word_error_figures
from .recognise import word_errors
from .speakers import SpeakerClassifier

WAYS = {"greedy": (GREEDY, 1), "sampled": (GenerationOptions(), 3)}  # options and number of takes
_SYNTHESES = 3  # takes of the synthesizer


def evaluate(bark: Bark, sentences: Sequence[str], voices: Sequence[str]) -> dict[str, object]:
    """Return the figures of each voice, greedy and sampled."""
    own = {voice: [synthesized(sentence, voice) for sentence in sentences] for voice in VOICES}
    half = len(sentences) // 2
    halves = [{v: waves[:half] for v, waves in own.items()}, {v: waves[half:] for v, waves in own.items()}]
    # Each half of the sentences is classified with the synthesizer's speech of the other half.
    classifiers = [SpeakerClassifier(part) for part in reversed(halves)]
    result: dict[str, object] = {"sentences": len(sentences), "precision": bark.bundle.manifest.precision}
    for voice in voices:
        again = [[synthesized(sentence, voice) for sentence in sentences] for _ in range(_SYNTHESES - 1)]
        figures: dict[str, object] = {"synthesizer": word_error_figures(sentences, own[voice], *again)}
        for way, (options, takes) in WAYS.items():
            figures[way] = _figures(bark, sentences, own[voice], voice, options, takes, classifiers)
        result[VOICE_NAMES[voice]] = figures
    return result


def _figures(
    bark: Bark,
    sentences: Sequence[str],
    own: Sequence[Wave],
    voice: str,
    options: GenerationOptions,
    takes: int,
    classifiers: Sequence[SpeakerClassifier],
) -> dict[str, object]:
    """Return the figures of one voice with one set of options; `own` is the synthesizer's speech."""
    count = len(sentences)
    started = time.perf_counter()
    speeches = [
        bark.generate(sentence, voice=VOICE_NAMES[voice], options=options, seed=take * count + n)
        for take in range(takes)
        for n, sentence in enumerate(sentences)
    ]
    spent = time.perf_counter() - started
    waves = [speech.waveform for speech in speeches]
    ratios = np.array([len(wave) / len(own[n % count]) for n, wave in enumerate(waves)])
    named = [classifiers[n % count >= count // 2].name(wave) == voice for n, wave in enumerate(waves)]
    wanted = [" ".join(phones(synthesized_tokens(sentence, voice))) for sentence in sentences] * takes
    made = [" ".join(phones(speech.tokens.semantic)) for speech in speeches]
    return {
        **word_error_figures(sentences, *(waves[take * count : (take + 1) * count] for take in range(takes))),
        "phone_error_rate": round(word_errors(wanted, made).rate, 4),
        "right_voice": round(float(np.mean(named)), 4),
        "right_units": round(float(np.mean([voice_of(speech.tokens.semantic) == voice for speech in speeches])), 4),
        "within_25_percent": round(float(np.mean(np.abs(ratios - 1) <= 0.25)), 4),
        "length_ratio": [round(float(q), 3) for q in np.quantile(ratios, (0, 0.05, 0.5, 0.95, 1))],
        "real_time_factor": round(spent / sum(len(wave) / SAMPLE_RATE for wave in waves), 3),
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("bundle", type=Path)
    parser.add_argument("out", type=Path)
    parser.add_argument("--sentences", type=int, default=120)
    parser.add_argument("--voice", choices=VOICES, help="one voice instead of both")
    parser.add_argument("--threads", type=int)
    arguments = parser.parse_args()
    sentences = held_out()[: arguments.sentences]
    bark = Bark.load(arguments.bundle, threads=arguments.threads)
    result = evaluate(bark, sentences, [arguments.voice] if arguments.voice else VOICES)
    arguments.out.write_text(json.dumps(result, indent=2) + "\n", encoding="utf-8")
    print(json.dumps(result, indent=2))


if __name__ == "__main__":
    main()
