"""Which utterance is a voice's preset: one that no network was trained on, and with which the voice is understood best.

It matters: with one utterance as its history a model this small makes half as many wrong phones again as with another.
What speaks is judged, a bundle; by sentences that no network was trained on either, and that are not the evaluation's.
"""

import json
import multiprocessing
import re
from functools import partial
from itertools import islice
from pathlib import Path

from bark_onnx import Bark, VoicePreset

from . import codes, corpus, semantic, text, units
from .evaluate import GREEDY, spoken_tokens
from .recognise import recognise, word_errors
from .speech import SAMPLE_RATE
from .units import phones

CHOSEN = "presets.json"
FINALISTS = 4
_SECONDS = (4.3, 8.0)  # long enough to fill the coarse history
_PLAIN = re.compile(r"[A-Za-z][A-Za-z',.;:?! ]+")


def first(tokens: codes.Tokens) -> dict[str, int]:
    """A preset of each voice to begin with."""
    return {voice: candidates(tokens, voice)[0] for voice in units.VOICES}


def candidates(tokens: codes.Tokens, voice: str) -> list[int]:
    """Utterances of a voice, not trained on, that can be its preset."""
    least, most = (seconds * units.VOCABULARY.semantic_rate for seconds in _SECONDS)
    own = tokens.of_voice()[units.VOICES.index(voice)]
    unseen = [int(n) for n in own if n < min(semantic.VALIDATION, codes.VALIDATION)]
    return [n for n in unseen if least <= len(tokens.semantic[n]) <= most]


def sentences(directory: Path) -> list[str]:
    """Plain ones of the corpus in `directory`, which no network was trained on and which are no candidates."""
    unseen = islice(corpus.read(directory, 0, 1, samples=False), codes.VALIDATION, semantic.VALIDATION)
    return [u.text for u in unseen if _PLAIN.fullmatch(u.text) and 4 <= len(text.spelled(u.text)) <= 20]


def chosen(work: Path) -> dict[str, int] | None:
    """The preset of each voice, if they have been chosen."""
    path = work / CHOSEN
    found: dict[str, int] | None = json.loads(path.read_text(encoding="utf-8")) if path.exists() else None
    return found


def choose(bundle: Path, work: Path) -> None:
    """Measure which is the best preset of each voice, voices side by side, and keep the choice in `work`."""
    with multiprocessing.get_context("spawn").Pool(len(units.VOICES)) as pool:
        found = pool.map(partial(_best, bundle, work), units.VOICES)
    (work / CHOSEN).write_text(json.dumps(dict(zip(units.VOICES, found, strict=True))) + "\n", encoding="utf-8")


def _best(bundle: Path, work: Path, voice: str) -> int:
    return best(Bark.load(bundle, threads=1), codes.load(work / "codes"), sentences(work / "corpus"), voice)


def best(bark: Bark, tokens: codes.Tokens, said: list[str], voice: str) -> int:
    """Few wrong phones make a finalist; of those the one with the fewest wrong words wins."""
    tried = candidates(tokens, voice)
    rates = {n: phone_errors(bark, voice, tokens.preset(n), said) for n in tried}
    finalists = sorted(tried, key=lambda n: rates[n])[:FINALISTS]
    wrong = {n: missed_words(bark, tokens.preset(n), said) for n in finalists}
    for n in tried:
        words = f", words {wrong[n]:.4f}" if n in wrong else ""
        print(f"preset {voice} {n}: wrong phones {rates[n]:.4f}{words}", flush=True)
    return min(finalists, key=lambda n: wrong[n])


def phone_errors(bark: Bark, voice: str, preset: VoicePreset, said: list[str]) -> float:
    """Of the phones that the synthesizer says, how many are others, greedy."""
    made = [phones(bark.semantic(sentence, preset, GREEDY)) for sentence in said]
    wanted = [phones(spoken_tokens(sentence, voice)) for sentence in said]
    return word_errors([" ".join(p) for p in wanted], [" ".join(p) for p in made]).rate


def missed_words(bark: Bark, preset: VoicePreset, said: list[str]) -> float:
    """The word error rate of what is heard, greedy."""
    return word_errors(said, [recognise(bark.generate(s, preset, GREEDY).waveform, SAMPLE_RATE) for s in said]).rate
