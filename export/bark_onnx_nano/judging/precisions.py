"""Measure what each precision and the fast profile cost: word errors, likelihood, tokens, bytes, time. As JSON.

    python -m bark_onnx_nano.judging.precisions CHECKPOINT OUT.json [--sentences N]

Every precision is exported anew. Word errors are measured on held-out sentences, greedy. The other figures are those of
`bark-onnx verify --against` with fp32 as the reference.
"""

import argparse
import json
import tempfile
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from statistics import mean, median
from time import perf_counter

from bark_onnx import Bark
from bark_onnx.checks.excerpts import find_voices
from bark_onnx.checks.quality import Source, measure
from bark_onnx.model.bundle import Bundle
from bark_onnx.model.manifest import PRECISIONS
from bark_onnx.stages.options import PROFILES
from bark_onnx_export.checkpoint import open_checkpoint
from bark_onnx_export.convert import ExportOptions, export_bundle

from ..text.sentences import held_out
from ..units import VOICE_NAMES
from .measures import GREEDY, word_error_figures
from .recognise import distance

TOKENS = 2048  # more than the presets have, so that all of their tokens are used


def speak(directory: Path, sentences: Sequence[str]) -> tuple[dict[str, object], list[list[int]]]:
    """Return the word errors of each voice with the real-time factor, and the semantic tokens of each sentence."""
    bark = Bark.load(directory, device="cpu")
    figures: dict[str, object] = {}
    tokens, start, seconds = [], perf_counter(), 0.0
    waves = {}
    for voice in VOICE_NAMES.values():
        speeches = [bark.generate(sentence, voice=voice, options=GREEDY, seed=0) for sentence in sentences]
        waves[voice] = [speech.waveform for speech in speeches]
        tokens += [speech.tokens.semantic.tolist() for speech in speeches]
        seconds += sum(speech.duration for speech in speeches)
    figures["real_time_factor"] = round((perf_counter() - start) / seconds, 3)
    for voice, own in waves.items():
        figures[voice] = word_error_figures(sentences, own)
    return figures, tokens


def quality(reference: Path, candidate: Path) -> dict[str, object]:
    """Return the teacher-forced figures of each stage."""
    a, b = Bundle.open(reference), Bundle.open(candidate)
    voices = list(find_voices(a, [], TOKENS).values())
    return {
        stage.stage: {"positions": stage.positions, "nll": stage.nll, **stage.figures, "over": stage.over}
        for stage in measure(Source.of(a), Source.of(b), b.manifest, voices, TOKENS)
    }


def compare(checkpoint: Path, sentences: Sequence[str], work: Path) -> dict[str, object]:
    """Return all figures by precision."""
    result: dict[str, object] = {"sentences": len(sentences)}
    reference: list[list[int]] = []
    for precision in PRECISIONS:
        if precision == "bf16":
            continue  # it runs on GPUs only
        directory = work / precision
        export_bundle(open_checkpoint(str(checkpoint)), directory, ExportOptions(precision))
        entries = Bundle.open(directory).manifest.files.values()
        figures, tokens = speak(directory, sentences)
        reference = reference or tokens
        figures["megabytes"] = round(sum(entry.bytes for entry in entries) / 1e6, 1)
        # Each sequence continues its own tokens, so one changed token can change those after it.
        changed = sum(distance(a, b) for a, b in zip(reference, tokens, strict=True))
        figures["semantic_tokens_changed"] = round(changed / sum(map(len, reference)), 4)
        if precision != PRECISIONS[0]:
            figures["teacher_forced"] = quality(work / PRECISIONS[0], directory)
        if precision == "int8":
            figures["fast_profile"] = fast_profile(directory, sentences)
        result[precision] = figures
        print(precision, json.dumps(figures), flush=True)
    return result


def fast_profile(directory: Path, sentences: Sequence[str]) -> dict[str, object]:
    """Return the codes that the fast profile changes: coarse for equal semantic tokens, fine for equal coarse codes.

    After the first code that differs, later codes differ too, so the median time of the first one is returned as well.
    """
    bark = Bark.load(directory, device="cpu")
    fast = replace(GREEDY, **PROFILES["fast"])
    figures: dict[str, object] = {}
    for voice in VOICE_NAMES.values():
        coarse_changed, fine_changed, first, waves = [], [], [], []
        for sentence in sentences:
            semantic = bark.semantic(sentence, voice=voice, options=GREEDY, seed=0)
            a, b = (bark.coarse(semantic, voice=voice, options=options, seed=0) for options in (GREEDY, fast))
            fine, other = (bark.fine(a, voice=voice, options=options, seed=0) for options in (GREEDY, fast))
            differs = (a != b).any(axis=0)
            coarse_changed.append(float((a != b).mean()))
            fine_changed.append(float((fine != other)[len(a) :].mean()))
            first.append(float(differs.argmax() / bark.vocabulary.coarse_rate) if differs.any() else float("inf"))
            waves.append(bark.decode(bark.fine(b, voice=voice, options=fast, seed=0)))
        figures[voice] = {
            **word_error_figures(sentences, waves),
            "coarse_codes_changed": round(mean(coarse_changed), 4),
            "first_changed_after_seconds": round(median(first), 2) if median(first) < float("inf") else None,
            "fine_codes_changed": round(mean(fine_changed), 4),
        }
    return figures


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("checkpoint", type=Path)
    parser.add_argument("out", type=Path)
    parser.add_argument("--sentences", type=int, default=60)
    arguments = parser.parse_args()
    with tempfile.TemporaryDirectory() as work:
        result = compare(arguments.checkpoint, held_out()[: arguments.sentences], Path(work))
    arguments.out.write_text(json.dumps(result, indent=2) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
