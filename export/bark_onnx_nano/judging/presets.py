"""Choose the preset of each voice: of the utterances that no network was trained on, the one that is understood best.

The choice matters: a model this small speaks 1.6 times as many wrong phones with the worst utterance as its history as
with the best. The candidates are compared with a bundle of the trained networks, on sentences that are neither in the
training data nor in the evaluation.
"""

import json
import multiprocessing
import re
from functools import partial
from itertools import islice
from pathlib import Path

from bark_onnx import Bark, VoicePreset

from ..corpus import tokens as corpus_tokens
from ..corpus import utterances
from ..corpus.tokens import Tokens
from ..speech.synthesis import SAMPLE_RATE
from ..text.words import words_of
from ..training import batches, semantic
from ..units import VOCABULARY, VOICES, phones
from .measures import GREEDY, synthesized_tokens
from .recognise import recognise, word_errors

CHOSEN = "presets.json"
FINALISTS = 4
_SECONDS = (4.3, 8.0)  # shortest and longest; the shortest fills the coarse history
_PLAIN = re.compile(r"[A-Za-z][A-Za-z',.;:?! ]+")


def first(tokens: Tokens) -> dict[str, int]:
    """Return the first candidate of each voice, the preset until one is chosen."""
    return {voice: candidates(tokens, voice)[0] for voice in VOICES}


def candidates(tokens: Tokens, voice: str) -> list[int]:
    """Return the utterances of a voice that have the right length and that no network was trained on."""
    shortest, longest = (seconds * VOCABULARY.semantic_rate for seconds in _SECONDS)
    own = tokens.of_voice()[VOICES.index(voice)]
    unseen = [int(n) for n in own if n < min(semantic.VALIDATION, batches.VALIDATION)]
    return [n for n in unseen if shortest <= len(tokens.semantic[n]) <= longest]


def sentences(directory: Path) -> list[str]:
    """Return plain sentences of the corpus in `directory` that are not in the training data and not candidates."""
    unseen = islice(utterances.read(directory, 0, 1, samples=False), batches.VALIDATION, semantic.VALIDATION)
    return [u.text for u in unseen if _PLAIN.fullmatch(u.text) and 4 <= len(words_of(u.text)) <= 20]


def chosen(work: Path) -> dict[str, int] | None:
    """Return the chosen preset of each voice; None if none are chosen yet."""
    path = work / CHOSEN
    found: dict[str, int] | None = json.loads(path.read_text(encoding="utf-8")) if path.exists() else None
    return found


def choose(bundle: Path, work: Path) -> None:
    """Choose the preset of each voice, with one process per voice, and write the choice to `work`."""
    with multiprocessing.get_context("spawn").Pool(len(VOICES)) as pool:
        found = pool.map(partial(_best, bundle, work), VOICES)
    (work / CHOSEN).write_text(json.dumps(dict(zip(VOICES, found, strict=True))) + "\n", encoding="utf-8")


def _best(bundle: Path, work: Path, voice: str) -> int:
    return best(Bark.load(bundle, threads=1), corpus_tokens.load(work / "codes"), sentences(work / "corpus"), voice)


def best(bark: Bark, tokens: Tokens, texts: list[str], voice: str) -> int:
    """Return the finalist with the fewest wrong words. Finalists are the candidates with the fewest wrong phones."""
    tried = candidates(tokens, voice)
    phone_rates = {n: phone_errors(bark, voice, tokens.preset(n), texts) for n in tried}
    finalists = sorted(tried, key=lambda n: phone_rates[n])[:FINALISTS]
    word_rates = {n: wrong_words(bark, tokens.preset(n), texts) for n in finalists}
    for n in tried:
        words = f", wrong words {word_rates[n]:.4f}" if n in word_rates else ""
        print(f"preset {voice} {n}: wrong phones {phone_rates[n]:.4f}{words}", flush=True)
    return min(finalists, key=lambda n: word_rates[n])


def phone_errors(bark: Bark, voice: str, preset: VoicePreset, texts: list[str]) -> float:
    """Return the error rate of greedy phones against the synthesizer's."""
    made = [phones(bark.semantic(text, voice=preset, options=GREEDY)) for text in texts]
    wanted = [phones(synthesized_tokens(text, voice)) for text in texts]
    return word_errors([" ".join(p) for p in wanted], [" ".join(p) for p in made]).rate


def wrong_words(bark: Bark, preset: VoicePreset, texts: list[str]) -> float:
    """Return the word error rate of greedy speech."""
    waves = [bark.generate(text, voice=preset, options=GREEDY).waveform for text in texts]
    return word_errors(texts, [recognise(wave, SAMPLE_RATE) for wave in waves]).rate
