"""Measure what normalising is worth: nano's word errors on sentences with digits, as written and in words. As JSON.

    python -m bark_onnx_nano.judging.normalized OUT.json [--voice NAME] [--sentences N]

`with_digits.tsv` has 100 sentences and what a person would read. Speech is greedy, and pocketsphinx recognises it. The
word "and" is not counted, since people say "one hundred one" and "one hundred and one".
"""

import argparse
import json
from collections.abc import Sequence
from pathlib import Path

from bark_onnx import Bark, Request
from bark_onnx.normalizing.choice import OFF

from ..text.words import words_of
from ..units import VOICE_NAMES
from .measures import GREEDY
from .recognise import recognise, word_errors

SENTENCES = Path(__file__).parents[1] / "with_digits.tsv"


def with_digits() -> list[tuple[str, str]]:
    """Return sentences with digits, each with the words that a person would read."""
    lines = SENTENCES.read_text(encoding="utf-8").splitlines()
    return [(written, read) for written, read in (line.split("\t") for line in lines)]


def compare(bark: Bark, sentences: Sequence[tuple[str, str]], voice: str) -> dict[str, object]:
    """Return the word errors by the way in which the sentences are spoken."""
    figures: dict[str, object] = {"sentences": len(sentences), "voice": voice}
    read = [_counted(words) for _, words in sentences]
    for way in ("en", OFF):
        words = [bark.words(written, normalize=way) for written, _ in sentences]
        speeches = bark.generate_batch([Request(text, voice=voice, seed=0, options=GREEDY) for text in words])
        heard = [_counted(recognise(speech.waveform, speech.sample_rate)) for speech in speeches]
        errors = word_errors(read, heard)
        low, high = errors.interval()
        figures[way] = {"wer": round(errors.rate, 4), "interval": [round(low, 4), round(high, 4)]}
        figures["words"] = sum(errors.words)
        print(way, figures[way], flush=True)
    return figures


def _counted(text: str) -> str:
    return " ".join(word for word in words_of(text) if word != "and")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("out", type=Path)
    parser.add_argument("--voice", default=VOICE_NAMES["rms"], help="default en_male, which recognisers know better")
    parser.add_argument("--sentences", type=int, default=100)
    arguments = parser.parse_args()
    result = compare(Bark.load(), with_digits()[: arguments.sentences], arguments.voice)
    result["command"] = "python -m bark_onnx_nano.judging.normalized nano-normalized.json"
    arguments.out.write_text(json.dumps(result, indent=2) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
