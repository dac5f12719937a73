"""The corpus as codes: the synthesizer's noise is averaged out, and the step goes on where it was stopped."""

from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
import torch

from bark_onnx_nano import codebooks, codes, corpus, mel, speech, text, units
from bark_onnx_nano.codes import samples_of

V = units.VOCABULARY
SAID = [
    "She tugged for years to make a decent living.",
    "The clouds broke after the heavy downpour.",
    "These gems retail at thousands of dollars each.",
    "He was afraid of a fire in the circus tent.",
    "If you listen this evening, nobody will continue.",
    "The treasury will find some extra benefits.",
]


def test_marks_are_taken_out_where_they_are_put_in() -> None:
    words = "good morning to you".split()
    for mark in text.MARKS:
        for place in range(len(words) + 1):
            assert text.without_marks(" ".join([*words[:place], mark, *words[place:]])) == " ".join(words)
    assert text.without_marks("no [mark] here") == "no [mark] here"


@pytest.fixture(scope="module")
def books() -> codebooks.Codebooks:
    waves = [speech.speak(said, voice).samples for said in SAID for voice in units.VOICES]
    return codebooks.train(torch.cat([mel.frames(torch.from_numpy(w) / 32768.0) for w in waves]), seed=1)


def agreement(a: np.ndarray, b: np.ndarray) -> float:
    """Of the codes of the first two codebooks, how many are the same."""
    return float((a[:2] == b[:2]).mean())


@pytest.mark.skipif(not speech.available(), reason="needs flite's shared libraries")
def test_codes_of_several_takes_depend_less_on_chance(books: codebooks.Codebooks) -> None:
    single, several = [], []
    for said in SAID:
        takes = [speech.speak(said, "slt").samples for _ in range(8)]
        assert any(not np.array_equal(takes[0], take) for take in takes[1:])  # it is noise
        single.append(agreement(samples_of(books, takes[0]), samples_of(books, takes[4])))
        several.append(agreement(samples_of(books, *takes[:4]), samples_of(books, *takes[4:])))
    assert np.mean(several) > np.mean(single) + 0.05


@pytest.mark.skipif(not speech.available(), reason="needs flite's shared libraries")
def test_a_corpus_is_encoded_shard_by_shard_and_goes_on(
    books: codebooks.Codebooks, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def texts(count: int, seed: int, *rest: object) -> Iterator[tuple[str, str]]:
        return iter([(f"[laughs] {said}", said) for said in SAID][:count])

    monkeypatch.setattr(text, "training_texts", texts)
    monkeypatch.setattr(corpus, "SHARD", 3)
    corpus.make(tmp_path / "corpus", spoken=2, timed=0, seed=1, processes=2)
    out = tmp_path / "codes"
    codes.encode(tmp_path / "corpus", 1, books, out, processes=1)
    first = (out / "0000.npz").read_bytes()
    codes.encode(tmp_path / "corpus", 2, books, out, processes=2)
    assert sorted(path.name for path in out.iterdir()) == ["0000.npz", "0001.npz"]
    assert (out / "0000.npz").read_bytes() == first

    tokens = codes.load(out)
    utterances = list(corpus.read(tmp_path / "corpus"))
    assert len(tokens) == len(utterances) == len(SAID)
    for n, utterance in enumerate(utterances):
        assert np.array_equal(tokens.semantic[n], utterance.semantic)
        assert tokens.codes[n].shape == (8, V.coarse_length(len(utterance.semantic)) // 2)
        frames = tokens.codes[n].shape[1]
        # Those of the corpus's own take in the main, but of other takes too.
        assert 0.4 < agreement(tokens.codes[n], samples_of(books, utterance.samples)[:, :frames]) < 0.95
    assert tokens.preset(0).fine.shape == tokens.codes[0].shape
