"""The networks of the nano voice as they are trained: on what the runtime will give them."""

from pathlib import Path

import numpy as np
import pytest
import torch

from bark_onnx import Bark
from bark_onnx.model.sizes import TransformerSize
from bark_onnx.model.voice import VoicePreset
from bark_onnx.stages.coarse import coarse_context, coarse_history, flatten_codes
from bark_onnx.stages.semantic import semantic_prompt
from bark_onnx_export.checkpoint import open_checkpoint
from bark_onnx_nano import checkpoint, coarse, codebooks, codec, fine, semantic, units
from bark_onnx_nano.alignment import align
from bark_onnx_nano.codes import VALIDATION, Tokens
from bark_onnx_nano.evaluate import GREEDY
from bark_onnx_nano.training import Plan, train
from bark_onnx_nano.transformer import SIZES, Causal, Fine, build
from bark_onnx_nano.units import STATES, UNITS

V = units.VOCABULARY
CHECKPOINT = Path(checkpoint.__file__).with_name("bark-nano")


def some_tokens(count: int, seed: int = 0) -> Tokens:
    """Utterances of 1 to 7 s in alternate voices, of random units and codes."""
    random = np.random.default_rng(seed)
    lengths = random.integers(50, 350, count)
    return Tokens(
        [random.integers(0, UNITS, n) + UNITS * (i % 2) for i, n in enumerate(lengths)],
        [random.integers(0, V.codebook_size, (8, V.coarse_length(int(n)) // 2)) for n in lengths],
    )


def some_codebooks() -> codebooks.Codebooks:
    tables = torch.randn(8, V.codebook_size, 64, generator=torch.Generator().manual_seed(1))
    return codebooks.Codebooks(torch.zeros(64), 1.0, tables.half().float())


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
    torch.nn.init.normal_(built["fine"].norm.bias)
    for stage, module in built.items():
        torch.save({"module": module.state_dict()}, tmp_path / f"{stage}.pt")
    decoder = codec.CodecDecoder(codec.SIZE)
    torch.nn.init.normal_(decoder.codebooks)
    torch.save({"module": decoder.state_dict()}, tmp_path / "codec.pt")
    books = some_codebooks()
    books.save(tmp_path / codebooks.FILE)
    tokens = some_tokens(2)
    checkpoint.write(tmp_path, tmp_path / "out", tokens, {"slt": 0, "rms": 1})

    assert torch.equal(codebooks.Codebooks.load(tmp_path / "out" / codebooks.FILE).tables, books.tables)
    opened = open_checkpoint(str(tmp_path / "out"))
    assert opened.vocabulary == V
    for stage, module in built.items():
        weights = opened.load(stage)
        assert weights.size == small[stage]
        for block in ("blocks.0.mlp.up.weight", "position_embedding.weight"):
            assert torch.equal(weights.tensors[block], module.state_dict()[block].half().float())
        for sharpened in ("norm.weight", "norm.bias") if stage == "fine" else ("head.weight",):
            made = module.state_dict()[sharpened] * checkpoint.SHARPER[stage]
            assert torch.equal(weights.tensors[sharpened], made.half().float())
    weights = opened.load("codec")
    assert weights.size == codec.SIZE
    for name, tensor in decoder.state_dict().items():
        torch.testing.assert_close(weights.tensors[name], tensor, atol=2e-3, rtol=2e-3)
    voice = VoicePreset.load(tmp_path / "out" / "speaker_embeddings" / "en_female.npz")
    voice.check(V)
    assert np.array_equal(voice.fine, tokens.codes[0])


def test_the_vocoder_learns_its_codebooks_too(tmp_path: Path) -> None:
    """It starts from those that make the codes, and ends with its own."""
    tokens, books = some_tokens(4), some_codebooks()
    random = np.random.default_rng(0)
    samples = [random.integers(-3000, 3000, c.shape[1] * 320).astype(np.int16) for c in tokens.codes]
    excerpts = codec.Excerpts(samples, tokens.codes, tokens.codes, ["slt", "rms"] * 2, seed=1)
    task = codec.task(excerpts, excerpts, books, seed=1)
    assert isinstance(task.module, codec.CodecDecoder)
    assert torch.equal(task.module.codebooks, books.tables)
    train(task, Plan(steps=1, rate=1e-3, warmup=1, decay=0.0, weight_decay=0.0), tmp_path / "codec.pt", seed=1)
    heard = torch.zeros(8, V.codebook_size, dtype=torch.bool)
    for book, codes in enumerate(excerpts(0)["codes"].unbind(1)):
        heard[book, codes.flatten()] = True
    changed = (codec.load(tmp_path / "codec.pt").codebooks != books.tables).any(-1)
    assert torch.equal(changed, heard)


def test_phones_weigh_what_is_said_and_not_when() -> None:
    """Timing costs nothing; another state of the phone is as good; which phone comes next costs its probability."""
    torch.manual_seed(0)
    logits = torch.randn(5, V.text_offset)
    before = torch.tensor([30, 31, 32, 32, 340])
    targets = torch.tensor([31, 31, 60, 30, V.semantic_pad])  # on, on, another phone, the same again, the end
    found = float(semantic.phone_loss(logits, before, targets))
    p = logits.softmax(1)
    another = p[2, 60:63].sum() / (p[2].sum() - p[2, 32])
    again = p[3, 30:32].sum() / (p[3].sum() - p[3, 32])
    end = p[4, V.semantic_pad] / (p[4].sum() - p[4, 340:342].sum())
    assert found == pytest.approx(-float(another.log() + again.log() + end.log()) / 5, rel=1e-5)
    voice = semantic.phone_loss(logits[:1], torch.tensor([V.semantic_infer]), torch.tensor([171]))
    assert float(voice) == 0  # which voice speaks is not asked


def test_which_phone_comes_next_counts_by_its_weight() -> None:
    torch.manual_seed(0)
    module = Causal(TransformerSize(1, 2, 16, 1024, V.semantic_infer + 1, V.text_offset))
    prompt = np.array([*range(V.text_offset, V.text_offset + 20), *[V.text_pad] * 236, V.semantic_infer])
    after = np.array([30, 31, 32, 60, 61, V.semantic_pad])
    batch = semantic.collate([(prompt, np.full(V.text_window, V.semantic_pad), after)], np.arange(256))
    plain, weighed = (float(semantic.loss(module, batch, weight).detach()) for weight in (0.0, 8.0))
    uniform = 2 / 6 * np.log(V.text_offset / STATES)  # two phones of six tokens end
    assert weighed - plain == pytest.approx(8 * uniform, rel=0.2)


def test_guesses_are_what_the_runtime_s_fine_stage_says() -> None:
    """The shipped checkpoint in the recipe's module, the shipped bundle in the runtime, after the same voice."""
    nano = Bark.load(device="cpu", threads=1)
    tensors = open_checkpoint(str(CHECKPOINT)).load("fine").tensors
    module = Fine(SIZES["fine"]).eval()
    unexpected = module.load_state_dict(tensors, strict=False).unexpected_keys
    assert not unexpected
    voice = nano.voice("en_male")
    assert voice is not None
    tokens = Tokens([voice.semantic], [voice.fine[:, :150]])
    made = fine.guesses(module, tokens, 1, seed=3)
    own = VoicePreset(voice.semantic, tokens.codes[0][:2], tokens.codes[0])
    wanted = nano.fine(tokens.codes[0][:2], voice=own, options=GREEDY)
    assert np.array_equal(made.codes[0][:2], tokens.codes[0][:2])
    assert made.codes[0].shape == wanted.shape
    # The bundle is int8, the module bf16, and every codebook goes on from those before it.
    same = (made.codes[0] == wanted)[2:].mean(1)
    assert same[0] > 0.85
    assert same.mean() > 0.5


def test_the_codec_hears_true_codes_and_more_often_guesses() -> None:
    tokens = some_tokens(4)
    none = V.codebook_size  # the last codebook tells which were heard
    guessed = [np.concatenate([c[:7], np.full((1, c.shape[1]), none)]) for c in tokens.codes]
    samples = [np.full(c.shape[1] * 320, n, np.int16) for n, c in enumerate(tokens.codes)]
    excerpts = codec.Excerpts(samples, tokens.codes, guessed, ["slt", "rms"] * 2, seed=1)
    share = [float((excerpts(step)["codes"][:, 7] == none).float().mean()) for step in range(20)]
    assert 0.6 < np.mean(share) < 0.9
    assert all(0 < one <= 1 for one in share)
    batch = excerpts(0)
    assert batch["samples"].shape == (codec.ROWS, codec.FRAMES * 320)
    said = torch.cat([excerpts(step)["samples"][:, 0] for step in range(40)]) * 32768  # by which utterance
    assert 0.6 < float((said % 2 == 0).float().mean()) < 0.73  # the female voice, twice as often
