"""The recipe of the nano voice: its parts, on data made here. The synthesizer is needed for one test only."""

from pathlib import Path
from random import Random

import numpy as np
import pytest
import torch

from bark_onnx.coarse import coarse_context, coarse_history, flatten_codes
from bark_onnx.semantic import semantic_prompt
from bark_onnx.sizes import TransformerSize, misfits
from bark_onnx.voice import VoicePreset
from bark_onnx_export.checkpoint import open_checkpoint
from bark_onnx_nano import checkpoint, coarse, codebooks, codec, fine, phrases, semantic, speech, spelling, text, units
from bark_onnx_nano.alignment import align
from bark_onnx_nano.codes import VALIDATION, Tokens
from bark_onnx_nano.recognise import WordErrors, distance, word_errors
from bark_onnx_nano.training import Plan, Task, optimizers, train
from bark_onnx_nano.transformer import Causal, build
from bark_onnx_nano.units import UNITS, Segment

V = units.VOCABULARY


def some_tokens(count: int, seed: int = 0) -> Tokens:
    """Utterances of 1 to 7 s in alternate voices, of random units and codes."""
    random = np.random.default_rng(seed)
    lengths = random.integers(50, 350, count)
    return Tokens(
        [random.integers(0, UNITS, n) + UNITS * (i % 2) for i, n in enumerate(lengths)],
        [random.integers(0, V.codebook_size, (8, V.coarse_length(int(n)) // 2)) for n in lengths],
    )


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
    errors = [float((books.latents(codes[:n]) - wanted).square().mean()) for n in range(1, 9)]
    assert errors == sorted(errors, reverse=True)
    assert errors[-1] < 0.2 * errors[0]
    assert torch.equal(books.encode(frames, given=codes[:2]), codes)
    assert torch.equal(codebooks.train(frames, seed=3).tables, books.tables)


def test_semantic_examples_are_the_runtime_s_prompts() -> None:
    tokens = some_tokens(6)
    sentences = object.__new__(semantic.Sentences)
    sentences.texts = [np.arange(5, 30) + V.text_offset] * 6
    sentences.semantic = tokens.semantic
    sentences.of_voice = tokens.of_voice()
    sentences.voices = np.array([0, 1] * 3)
    text_ids = np.full(V.text_window, V.text_pad)
    text_ids[:25] = np.arange(5, 30) + V.text_offset
    with_history = 0
    for n in range(12):
        ids, history, after = sentences.example(2, np.random.default_rng(n))
        batch = semantic.collate([(ids, history, after)], np.arange(V.text_window))
        assert (after[-1], *after[:-1]) == (V.semantic_pad, *tokens.semantic[2])
        candidates = [semantic_prompt(text_ids, None, V.semantic_pad, V)]
        for index in tokens.of_voice()[0]:
            candidates.append(semantic_prompt(text_ids, tokens.preset(int(index)), V.semantic_pad, V))
        assert any(np.array_equal(ids, i) and np.array_equal(history, h) for i, h in candidates)
        with_history += bool((history[:5] != V.semantic_pad).any())
        assert batch["ids"][0].tolist() == [*ids, *tokens.semantic[2]]
        assert torch.equal(batch["positions"], torch.arange(257 + len(tokens.semantic[2])))
        assert "bias" not in batch
        few = np.array([*range(30), 77, 200])
        short = semantic.collate([(ids, history, after)], few, weight=113.0)
        assert short["positions"].tolist() == [*few, *range(256, 257 + len(tokens.semantic[2]))]
        assert torch.equal(short["targets"], batch["targets"])
        assert short["bias"].nonzero().flatten().tolist() == [30, 31]
    assert 6 <= with_history < 12


def test_coarse_windows_are_the_runtime_s_contexts() -> None:
    tokens = some_tokens(4)
    random = np.random.default_rng(1)
    for index, history in ((0, None), (0, 2), (1, 3), (3, 1)) * 4:
        context, after = coarse.window(tokens, index, history, random)
        voice = tokens.preset(history) if history is not None else None
        before = coarse_history(voice, V.max_coarse_history, V)
        said = np.concatenate([before.semantic, tokens.semantic[index]])
        codes = np.concatenate([before.coarse, flatten_codes(tokens.codes[index][:2], V)])
        starts = range(0, len(codes) - len(before.coarse), 60)
        expected = {}
        for start in starts:
            known = len(before.coarse) + start
            position = len(before.semantic) + round(start / V.coarse_per_semantic)
            made = coarse_context(said, position, codes[:known], V.max_coarse_history, V)
            expected[tuple(made)] = codes[known : known + 60]
        assert np.array_equal(expected[tuple(context)], after)


def some_codebooks() -> codebooks.Codebooks:
    tables = torch.randn(8, V.codebook_size, 64, generator=torch.Generator().manual_seed(1))
    return codebooks.Codebooks(torch.zeros(64), 1.0, tables)


def test_a_coarse_batch_asks_for_every_code_in_its_codebook() -> None:
    """And shows some of them as others that sound alike, but asks for what was said."""
    tokens, books = some_tokens(VALIDATION + 20), some_codebooks()
    made = coarse.Batches(tokens, books, seed=1)
    batch, again = made(0), coarse.Batches(tokens, books, seed=1)(0)
    assert all(torch.equal(batch[name], again[name]) for name in batch)
    random = np.random.default_rng((1, 0))
    plain = made.make(random.integers(VALIDATION, len(tokens), len(batch["ids"])), random)
    assert torch.equal(plain["targets"], batch["targets"])
    seen, said = batch["ids"], plain["ids"]
    after = said[:, V.coarse_semantic_window + 1 :]
    known = after < V.coarse_semantic_pad
    assert torch.equal((after - V.semantic_size)[known], batch["targets"][:, :-1][known])
    assert (batch["targets"] < V.coarse_choices).all()
    confused = seen != said
    codes = (said >= V.semantic_size) & (said < V.semantic_size + V.coarse_choices)
    assert not confused[~codes].any()
    assert 0 < confused.sum() < 0.2 * codes.sum()
    for one, other in zip(
        (said[confused] - V.semantic_size).tolist(), (seen[confused] - V.semantic_size).tolist(), strict=True
    ):
        book = one // V.codebook_size
        assert other // V.codebook_size == book
        near = books.alike(book, 12)[one % V.codebook_size]
        assert other % V.codebook_size in near.tolist()


def test_alike_codes_are_the_nearest() -> None:
    books = some_codebooks()
    distances = (books.tables[1] - books.tables[1][7]).norm(dim=1)
    distances[7] = torch.inf
    assert set(books.alike(1, 5)[7].tolist()) == set(distances.argsort()[:5].tolist())


def test_a_fine_batch_hides_what_it_asks_for() -> None:
    tokens = some_tokens(VALIDATION + 20)
    for step in range(5):
        batch = fine.Batches(tokens, seed=1)(step)
        codes, targets, codebook = batch["codes"], batch["targets"], int(batch["codebook"])
        own = codes[..., codebook]
        asked = targets >= 0
        assert ((own == V.codebook_size) | (own == targets))[asked].all()
        assert (codes[..., 0][asked] < V.codebook_size).all()


@pytest.mark.parametrize("stage", ["semantic", "coarse"])
def test_aligned_heads_look_along_the_diagonal(stage: str) -> None:
    torch.manual_seed(0)
    module = build(stage)
    assert isinstance(module, Causal)
    align(module, stage)
    size = module.size
    ids = torch.randint(0, V.semantic_size, (1, 700))
    x = module.token_embedding(ids) + module.position_embedding(torch.arange(700))
    block = module.blocks[0]
    q, k, _ = block.qkv(x).view(700, 3, size.heads, -1).unbind(1)
    place = 500
    scores = q[place, 0] @ k[:256, 0].T
    rate = 3.6 if stage == "semantic" else V.coarse_per_semantic
    pause = 8 if stage == "semantic" else 0
    assert int(scores.argmax()) == pytest.approx((place - 256 - pause) / rate, abs=3)


def test_a_few_paddings_stand_for_all() -> None:
    """Where all paddings are alike, those that count for several give exactly what all give."""
    torch.manual_seed(0)
    module = Causal(TransformerSize(2, 2, 16, 1024, V.semantic_infer + 1, V.text_offset)).eval()
    module.position_embedding.weight.data[20:256] = module.position_embedding.weight.data[20]
    history = np.full(V.text_window, V.semantic_pad)
    prompt = np.array([*range(V.text_offset, V.text_offset + 20), *[V.text_pad] * 236, V.semantic_infer])
    after = np.array([1, 2, 3, V.semantic_pad])
    whole = semantic.collate([(prompt, history, after)], np.arange(256))
    few = semantic.collate([(prompt, history, after)], np.array([*range(20), 50, 100, 150, 200]), weight=236 / 4)
    with torch.no_grad():
        torch.testing.assert_close(semantic.loss(module, few), semantic.loss(module, whole), atol=2e-2, rtol=2e-2)


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


def test_a_checkpoint_of_the_recipe_is_one_for_export(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    small = {
        "semantic": TransformerSize(1, 2, 16, 1024, V.semantic_infer + 1, V.text_offset),
        "coarse": TransformerSize(1, 2, 16, 1024, V.coarse_infer + 1, V.coarse_infer + 1),
        "fine": TransformerSize(1, 2, 16, 1024, 1056, 1056),
    }
    monkeypatch.setattr(checkpoint, "SIZES", small)
    monkeypatch.setattr("bark_onnx_nano.transformer.SIZES", small)
    torch.manual_seed(0)
    built = {stage: build(stage) for stage in small}
    for stage, module in built.items():
        torch.save({"module": module.state_dict()}, tmp_path / f"{stage}.pt")
    decoder = codec.CodecDecoder(codec.SIZE)
    torch.nn.init.normal_(decoder.codebooks)
    torch.save({"module": decoder.state_dict()}, tmp_path / "codec.pt")
    tokens = some_tokens(2)
    checkpoint.write(tmp_path, tmp_path / "out", tokens, {"slt": 0, "rms": 1})

    opened = open_checkpoint(str(tmp_path / "out"))
    assert opened.vocabulary == V
    for stage, module in built.items():
        weights = opened.load(stage)
        assert weights.size == small[stage]
        for block in ("blocks.0.mlp.up.weight", "position_embedding.weight"):
            assert torch.equal(weights.tensors[block], module.state_dict()[block].half().float())
        if stage in checkpoint.SHARPER:
            head = module.state_dict()["head.weight"] * checkpoint.SHARPER[stage]
            assert torch.equal(weights.tensors["head.weight"], head.half().float())
    weights = opened.load("codec")
    assert weights.size == codec.SIZE
    for name, tensor in decoder.state_dict().items():
        torch.testing.assert_close(weights.tensors[name], tensor, atol=2e-3, rtol=2e-3)
    voice = VoicePreset.load(tmp_path / "out" / "speaker_embeddings" / "en_female.npz")
    voice.check(V)
    assert np.array_equal(voice.fine, tokens.codes[0])


def test_the_vocoder_is_trained_on_what_the_exporter_decodes() -> None:
    torch.manual_seed(0)
    decoder = codec.CodecDecoder(codec.SIZE)
    torch.nn.init.normal_(decoder.codebooks)
    codes = torch.randint(0, V.codebook_size, (2, 8, 12))
    latents = torch.stack([decoder.codebooks[n][codes[:, n]] for n in range(8)]).sum(dim=0)
    expected = decoder(codes, torch.ones(2, dtype=torch.bool), *decoder.new_state(2))[0].detach()
    made = codec.decode(decoder, latents)
    torch.testing.assert_close(made, expected, rtol=0, atol=0.02 * float(expected.abs().max()))
    made.square().mean().backward()  # type: ignore[no-untyped-call]
    assert all(parameter.grad is not None for name, parameter in decoder.named_parameters())
