"""The recipe of the nano voice: its parts, on data made here. The synthesizer is needed for one test only."""

from collections import Counter
from pathlib import Path
from random import Random

import numpy as np
import pytest
import torch

from bark_onnx.model.sizes import misfits
from bark_onnx_nano import codebooks, codec, phrases, speech, spelling, text, units
from bark_onnx_nano.recognise import WordErrors, distance, word_errors
from bark_onnx_nano.training import Plan, Task, optimizers, train
from bark_onnx_nano.units import UNITS, Segment

V = units.VOCABULARY


def test_units_follow_the_timings() -> None:
    segments = [
        Segment("pau", False, (0.02, 0.04, 0.10)),
        Segment("hh", False, (0.12, 0.14, 0.16)),
        Segment("ay", True, (0.20, 0.30, 0.40)),
    ]
    made = units.tokens(segments, "rms", 0.4)
    assert len(made) == int(0.4 * 49.9)
    names = [units.SYMBOLS[int(token) % UNITS // 3] for token in made]
    assert names == ["pau"] * 5 + ["hh"] * 3 + ["ay1"] * 11
    assert units.voice_of(made) == "rms"
    assert units.phones(made) == ["hh", "ay"]


def test_a_phone_said_twice_is_two_phones() -> None:
    twice = [Segment("t", False, (0.02, 0.04, 0.06)), Segment("t", False, (0.08, 0.10, 0.12))]
    assert units.phones(units.tokens(twice, "slt", 0.12)) == ["t", "t"]


def test_the_token_space_holds_all_networks_and_the_tokenizer(tmp_path: Path) -> None:
    from bark_onnx_nano.transformer import SIZES

    assert not [problem for stage, size in SIZES.items() for problem in misfits(stage, size, V)]
    assert misfits("codec", codec.SIZE, V) == []
    encoder = spelling.encoder(spelling.write(tmp_path / "tokenizer.json"))
    ids = encoder.encode("Don't [laughs] at café 12!")
    assert V.text_offset + spelling.PIECES.index("[UNK]") not in ids
    assert ids.max() == V.text_pad


def test_sentences_are_a_function_of_the_seed_and_in_reach_of_the_tokenizer() -> None:
    def some(seed: int) -> list[str]:
        random = Random(seed)
        return [phrases.phrase(random) for _ in range(300)]

    assert some(1) == some(1) != some(2)
    assert all(set(phrase) <= {*spelling.CHARACTERS, " "} for phrase in some(1) + list(phrases.EVERYDAY))
    held_out = text.held_out()
    assert len(held_out) == len(set(held_out)) >= 100
    assert all(4 <= len(text.spelled(sentence)) <= 14 for sentence in held_out)


@pytest.mark.skipif(not text.WORDNET.exists(), reason="needs the package wordnet-base")
def test_held_out_sentences_occur_in_no_training_text() -> None:
    forbidden = [" ".join(text.spelled(sentence)) for sentence in text.held_out()]
    said = "\n".join(" ".join(text.spelled(spoken)) for _, spoken in text.training_texts(3000, 5, text.SPOKEN))
    assert not [sentence for sentence in forbidden if sentence in said]


@pytest.mark.skipif(not text.WORDNET.exists(), reason="needs the package wordnet-base")
def test_words_put_into_examples_are_met_more_often() -> None:
    """Words that the examples themselves have only once."""
    examples = Counter(word for sentence in text.examples() for word in text.spelled(sentence))
    rare = [word for word in text.vocabulary() if examples[word] == 1]
    met = []
    for mixture in (text.Mixture(1, 0, 0, 0, 0), text.Mixture(0, 0, 0, 0, 0, exchanged=1)):
        said = [spoken for _, spoken in text.training_texts(4000, 5, mixture)]
        assert said == [spoken for _, spoken in text.training_texts(4000, 5, mixture)]
        words = {word for sentence in said for word in text.spelled(sentence)}
        met.append(np.mean([word in words for word in rare]))
    assert met[1] > 3 * met[0] > 0


@pytest.mark.skipif(not speech.available(), reason="needs flite's shared libraries")
def test_timings_without_speech_are_those_of_the_speech() -> None:
    aloud, silent = speech.speak("Good morning.", "slt"), speech.speak("Good morning.", "slt", aloud=False)
    assert aloud.segments == silent.segments
    assert aloud.seconds == pytest.approx(len(aloud.samples) / speech.SAMPLE_RATE, abs=0.01)
    assert np.abs(aloud.samples).max() > 1000


def test_residual_codebooks_come_closer_with_every_codebook() -> None:
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


class Tiny(torch.nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.blocks = torch.nn.Linear(8, 8)
        self.head = torch.nn.Linear(8, 1)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return self.head(torch.tanh(self.blocks(x)))  # type: ignore[no-any-return]


def tiny_task() -> Task:
    torch.manual_seed(4)
    module = Tiny()

    def batch(step: int) -> dict[str, torch.Tensor]:
        return {"x": torch.randn(16, 8, generator=torch.Generator().manual_seed(step))}

    def loss(b: dict[str, torch.Tensor]) -> torch.Tensor:
        return (module(b["x"] + 0.01 * torch.randn(16, 8)) - b["x"].sum(1, keepdim=True)).square().mean()

    return Task(module, batch, loss, lambda: 0.0)  # type: ignore[arg-type]


def test_training_that_was_stopped_ends_as_if_it_had_not(tmp_path: Path) -> None:
    plan = Plan(steps=40, rate=1e-2, matrix_rate=1e-2, warmup=5)
    straight, stopped, resumed = tiny_task(), tiny_task(), tiny_task()
    train(straight, plan, tmp_path / "straight.pt", seed=1)
    train(stopped, plan, tmp_path / "parts.pt", seed=1, until=17)
    train(resumed, plan, tmp_path / "parts.pt", seed=1)
    for a, b in zip(straight.module.parameters(), resumed.module.parameters(), strict=True):
        assert torch.equal(a, b)
    fresh = tiny_task()
    with torch.no_grad():
        assert float(straight.loss(fresh.batch(99))) < 0.8 * float(fresh.loss(fresh.batch(99)))
    assert len(optimizers(fresh.module, plan)) == 2


def test_word_errors() -> None:
    assert distance("kitten", "sitting") == 3
    errors = word_errors(["The cat sat.", "Hello there"], ["the cat sat", "hello their dear"])
    assert (errors.errors, errors.words) == ([0, 2], [3, 2])
    assert errors.rate == pytest.approx(0.4)
    low, high = WordErrors([0, 1, 0, 1] * 30, [4] * 120).interval()
    assert 0.05 < low < 0.125 < high < 0.2


def test_sentences_said_again_are_no_more_sentences() -> None:
    """Saying the same once more tells nothing new of other sentences: the interval stays as wide."""
    once = WordErrors([0, 1, 0, 1] * 30, [4] * 120)
    twice = once + once
    assert (twice.rate, twice.interval(), sum(twice.words)) == (once.rate, once.interval(), 960)
