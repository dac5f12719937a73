"""The corpus: codebooks, codes of several takes, and shards that are made once."""

from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
import torch

from bark_onnx_nano.corpus import codebooks, tokens, utterances
from bark_onnx_nano.corpus.tokens import codes_of
from bark_onnx_nano.speech import mel
from bark_onnx_nano.speech.synthesis import available, speak
from bark_onnx_nano.text import sentences
from bark_onnx_nano.units import VOCABULARY, VOICES
from nano_data import some_codebooks

V = VOCABULARY
TEXTS = [
    "She tugged for years to make a decent living.",
    "The clouds broke after the heavy downpour.",
    "These gems retail at thousands of dollars each.",
    "He was afraid of a fire in the circus tent.",
    "If you listen this evening, nobody will continue.",
    "The treasury will find some extra benefits.",
]


def test_every_codebook_reduces_the_error() -> None:
    generator = torch.Generator().manual_seed(0)
    frames = torch.randn(3000, 64, generator=generator) @ torch.randn(64, 64, generator=generator) - 5
    books = codebooks.train(frames, seed=3)
    codes = books.encode(frames)
    assert codes.shape == (8, 3000)
    wanted = (frames - books.mean) / books.scale
    summed = torch.stack([table[c] for table, c in zip(books.tables, codes, strict=True)]).cumsum(0)
    errors = [float((latents - wanted).square().mean()) for latents in summed]
    assert errors == sorted(errors, reverse=True)
    assert errors[-1] < 0.2 * errors[0]
    assert torch.equal(codebooks.train(frames, seed=3).tables, books.tables)


def test_neighbours_are_the_nearest_other_codes() -> None:
    books = some_codebooks()
    distances = (books.tables[1] - books.tables[1][7]).norm(dim=1)
    distances[7] = torch.inf
    assert set(books.neighbours(1, 5)[7].tolist()) == set(distances.argsort()[:5].tolist())


@pytest.fixture(scope="module")
def books() -> codebooks.Codebooks:
    waves = [speak(text, voice).samples for text in TEXTS for voice in VOICES]
    return codebooks.train(torch.cat([mel.frames(torch.from_numpy(w) / 32768.0) for w in waves]), seed=1)


def agreement(a: np.ndarray, b: np.ndarray) -> float:
    """The share of equal codes in the first two codebooks."""
    return float((a[:2] == b[:2]).mean())


@pytest.mark.skipif(not available(), reason="needs flite's shared libraries")
def test_codes_of_several_takes_agree_better_than_codes_of_one(books: codebooks.Codebooks) -> None:
    single, several = [], []
    for text in TEXTS:
        takes = [speak(text, "slt").samples for _ in range(8)]
        assert any(not np.array_equal(takes[0], take) for take in takes[1:])  # the excitation is noise
        single.append(agreement(codes_of(books, takes[0]), codes_of(books, takes[4])))
        several.append(agreement(codes_of(books, *takes[:4]), codes_of(books, *takes[4:])))
    assert np.mean(several) > np.mean(single) + 0.05


@pytest.mark.skipif(not available(), reason="needs flite's shared libraries")
def test_encoding_keeps_the_shards_that_exist(
    books: codebooks.Codebooks, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def texts(count: int, seed: int, *rest: object) -> Iterator[tuple[str, str]]:
        return iter([(f"[laughs] {text}", text) for text in TEXTS][:count])

    monkeypatch.setattr(sentences, "training_texts", texts)
    monkeypatch.setattr(utterances, "SHARD", 3)
    utterances.make(tmp_path / "corpus", spoken=2, timed=0, seed=1, processes=2)
    out = tmp_path / "codes"
    tokens.encode(tmp_path / "corpus", 1, books, out, processes=1)
    first = (out / "0000.npz").read_bytes()
    tokens.encode(tmp_path / "corpus", 2, books, out, processes=2)
    assert sorted(path.name for path in out.iterdir()) == ["0000.npz", "0001.npz"]
    assert (out / "0000.npz").read_bytes() == first

    encoded = tokens.load(out)
    corpus = list(utterances.read(tmp_path / "corpus"))
    assert len(encoded) == len(corpus) == len(TEXTS)
    for n, utterance in enumerate(corpus):
        assert np.array_equal(encoded.semantic[n], utterance.semantic)
        assert encoded.codes[n].shape == (8, V.coarse_length(len(utterance.semantic)) // 2)
        frames = encoded.codes[n].shape[1]
        # Most codes are those of the corpus's own take, and some are not.
        assert 0.4 < agreement(encoded.codes[n], codes_of(books, utterance.samples)[:, :frames]) < 0.95
    assert encoded.preset(0).fine.shape == encoded.codes[0].shape
