"""The batches and losses of the networks: they are trained on the inputs that the runtime will give them."""

from pathlib import Path

import numpy as np
import pytest
import torch

import bark_onnx_nano
from bark_onnx import Bark
from bark_onnx.model.sizes import TransformerSize
from bark_onnx.model.voice import VoicePreset
from bark_onnx.stages.coarse import coarse_context, coarse_history, flatten_codes
from bark_onnx.stages.semantic import semantic_prompt
from bark_onnx_export.checkpoint import open_checkpoint
from bark_onnx_export.modules.codec import CodecModule
from bark_onnx_nano.corpus.tokens import Tokens
from bark_onnx_nano.judging.measures import GREEDY
from bark_onnx_nano.training import coarse, codec, fine, semantic
from bark_onnx_nano.training.alignment import align
from bark_onnx_nano.training.batches import VALIDATION
from bark_onnx_nano.training.loop import Plan, load, train
from bark_onnx_nano.training.transformer import SIZES, Causal, Fine, build
from bark_onnx_nano.units import STATES, VOCABULARY
from nano_data import some_codebooks, some_tokens

V = VOCABULARY
CHECKPOINT = Path(bark_onnx_nano.__file__).with_name("bark-nano")


def test_semantic_examples_have_the_runtime_s_prompts() -> None:
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


def test_coarse_windows_have_the_runtime_s_contexts() -> None:
    tokens = some_tokens(4)
    random = np.random.default_rng(1)
    for index, history in ((0, None), (0, 2), (1, 3), (3, 1)) * 4:
        context, after = coarse.window(tokens, index, history, random)
        voice = tokens.preset(history) if history is not None else None
        before = coarse_history(voice, V.max_coarse_history, V)
        semantic_tokens = np.concatenate([before.semantic, tokens.semantic[index]])
        codes = np.concatenate([before.coarse, flatten_codes(tokens.codes[index][:2], V)])
        starts = range(0, len(codes) - len(before.coarse), 60)
        expected = {}
        for start in starts:
            known = len(before.coarse) + start
            position = len(before.semantic) + round(start / V.coarse_per_semantic)
            made = coarse_context(semantic_tokens, position, codes[:known], V.max_coarse_history, V)
            expected[tuple(made)] = codes[known : known + 60]
        assert np.array_equal(expected[tuple(context)], after)


def test_a_coarse_batch_has_errors_in_its_input_but_true_targets() -> None:
    """Every code is a target. Some input codes are replaced by neighbours in the same codebook."""
    tokens, books = some_tokens(VALIDATION + 20), some_codebooks()
    made = coarse.Batches(tokens, books, seed=1)
    batch, again = made(0), coarse.Batches(tokens, books, seed=1)(0)
    assert all(torch.equal(batch[name], again[name]) for name in batch)
    random = np.random.default_rng((1, 0))
    plain = made.make(random.integers(VALIDATION, len(tokens), len(batch["ids"])), random)
    assert torch.equal(plain["targets"], batch["targets"])
    changed, true = batch["ids"], plain["ids"]
    after = true[:, V.coarse_semantic_window + 1 :]
    known = after < V.coarse_semantic_pad
    assert torch.equal((after - V.semantic_size)[known], batch["targets"][:, :-1][known])
    assert (batch["targets"] < V.coarse_choices).all()
    replaced = changed != true
    codes = (true >= V.semantic_size) & (true < V.semantic_size + V.coarse_choices)
    assert not replaced[~codes].any()
    assert 0 < replaced.sum() < 0.2 * codes.sum()
    for one, other in zip(
        (true[replaced] - V.semantic_size).tolist(), (changed[replaced] - V.semantic_size).tolist(), strict=True
    ):
        book = one // V.codebook_size
        assert other // V.codebook_size == book
        neighbours = books.neighbours(book, 12)[one % V.codebook_size]
        assert other % V.codebook_size in neighbours.tolist()


def test_a_fine_batch_hides_its_targets() -> None:
    tokens = some_tokens(VALIDATION + 20)
    for step in range(5):
        batch = fine.Batches(tokens, seed=1)(step)
        codes, targets, codebook = batch["codes"], batch["targets"], int(batch["codebook"])
        own = codes[..., codebook]
        asked = targets >= 0
        assert ((own == V.codebook_size) | (own == targets))[asked].all()
        assert (codes[..., 0][asked] < V.codebook_size).all()


@pytest.mark.parametrize("stage", ["semantic", "coarse"])
def test_aligned_heads_attend_to_the_diagonal(stage: str) -> None:
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


def test_weighted_padding_positions_stand_for_all() -> None:
    """If all padding positions have equal embeddings, a few weighted ones give the loss that all of them give."""
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


def test_the_codec_trains_its_own_codebooks(tmp_path: Path) -> None:
    """They are initialised with the codebooks that make the codes; one step changes the rows it used."""
    tokens, books = some_tokens(4), some_codebooks()
    random = np.random.default_rng(0)
    samples = [random.integers(-3000, 3000, c.shape[1] * 320).astype(np.int16) for c in tokens.codes]
    excerpts = codec.Excerpts(samples, tokens.codes, tokens.codes, ["slt", "rms"] * 2, seed=1)
    task = codec.task(excerpts, excerpts, books, seed=1)
    assert isinstance(task.module, CodecModule)
    assert torch.equal(task.module.codebooks, books.tables)
    train(task, Plan(steps=1, rate=1e-3, warmup=1, decay=0.0, weight_decay=0.0), tmp_path / "codec.pt", seed=1)
    used = torch.zeros(8, V.codebook_size, dtype=torch.bool)
    for book, codes in enumerate(excerpts(0)["codes"].unbind(1)):
        used[book, codes.flatten()] = True
    trained = load(CodecModule(codec.SIZE), tmp_path / "codec.pt")
    assert torch.equal((trained.codebooks != books.tables).any(-1), used)


def test_the_phone_loss_counts_only_which_phone_is_next() -> None:
    """Timing and the state of the next phone do not matter; a wrong phone costs its negative log probability."""
    torch.manual_seed(0)
    logits = torch.randn(5, V.text_offset)
    before = torch.tensor([30, 31, 32, 32, 340])
    targets = torch.tensor([31, 31, 60, 30, V.semantic_pad])  # same phone (twice), another, the same again, end
    found = float(semantic.phone_loss(logits, before, targets))
    p = logits.softmax(1)
    another = p[2, 60:63].sum() / (p[2].sum() - p[2, 32])
    again = p[3, 30:32].sum() / (p[3].sum() - p[3, 32])
    end = p[4, V.semantic_pad] / (p[4].sum() - p[4, 340:342].sum())
    assert found == pytest.approx(-float(another.log() + again.log() + end.log()) / 5, rel=1e-5)
    voice = semantic.phone_loss(logits[:1], torch.tensor([V.semantic_infer]), torch.tensor([171]))
    assert float(voice) == 0  # the choice of the voice has no phone loss


def test_the_phone_loss_is_weighted() -> None:
    torch.manual_seed(0)
    module = Causal(TransformerSize(1, 2, 16, 1024, V.semantic_infer + 1, V.text_offset))
    prompt = np.array([*range(V.text_offset, V.text_offset + 20), *[V.text_pad] * 236, V.semantic_infer])
    after = np.array([30, 31, 32, 60, 61, V.semantic_pad])
    batch = semantic.collate([(prompt, np.full(V.text_window, V.semantic_pad), after)], np.arange(256))
    plain, weighted = (float(semantic.loss(module, batch, weight).detach()) for weight in (0.0, 8.0))
    uniform = 2 / 6 * np.log(V.text_offset / STATES)  # two phones of six tokens end
    assert weighted - plain == pytest.approx(8 * uniform, rel=0.2)


def test_predictions_agree_with_the_runtime_s_fine_stage() -> None:
    """Compare the shipped checkpoint in the recipe's module with the shipped bundle in the runtime, with one voice."""
    nano = Bark.load(device="cpu", threads=1)
    tensors = open_checkpoint(str(CHECKPOINT)).load("fine").tensors
    module = Fine(SIZES["fine"]).eval()
    unexpected = module.load_state_dict(tensors, strict=False).unexpected_keys
    assert not unexpected
    voice = nano.preset("en_male")
    assert voice is not None
    tokens = Tokens([voice.semantic], [voice.fine[:, :150]])
    made = fine.predictions(module, tokens, 1, seed=3)
    own = VoicePreset(voice.semantic, tokens.codes[0][:2], tokens.codes[0])
    wanted = nano.fine(tokens.codes[0][:2], voice=own, options=GREEDY)
    assert np.array_equal(made.codes[0][:2], tokens.codes[0][:2])
    assert made.codes[0].shape == wanted.shape
    # The bundle is int8 and the module bf16, and each codebook depends on those before it.
    same = (made.codes[0] == wanted)[2:].mean(1)
    assert same[0] > 0.85
    assert same.mean() > 0.5


def test_most_excerpts_have_predicted_codes() -> None:
    tokens = some_tokens(4)
    none = V.codebook_size  # in the last codebook, to recognise predicted codes
    predicted = [np.concatenate([c[:7], np.full((1, c.shape[1]), none)]) for c in tokens.codes]
    samples = [np.full(c.shape[1] * 320, n, np.int16) for n, c in enumerate(tokens.codes)]
    excerpts = codec.Excerpts(samples, tokens.codes, predicted, ["slt", "rms"] * 2, seed=1)
    share = [float((excerpts(step)["codes"][:, 7] == none).float().mean()) for step in range(20)]
    assert 0.6 < np.mean(share) < 0.9
    assert all(0 < one <= 1 for one in share)
    batch = excerpts(0)
    assert batch["samples"].shape == (codec.ROWS, codec.FRAMES * 320)
    utterances = torch.cat([excerpts(step)["samples"][:, 0] for step in range(40)]) * 32768
    assert 0.6 < float((utterances % 2 == 0).float().mean()) < 0.73  # the female voice is twice as frequent
