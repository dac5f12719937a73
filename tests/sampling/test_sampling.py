"""From logits to tokens: the reference's rules, the right frequencies, and seeds that always give the same tokens."""

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray

from bark_onnx import Bark, BarkError, GenerationOptions, Vocabulary, VoicePreset
from bark_onnx.graphs.cache import KVCache
from bark_onnx.graphs.decoder import CausalDecoder
from bark_onnx.graphs.fine import FineModel
from bark_onnx.sampling.distribution import probabilities, random_stream, sample
from bark_onnx.sampling.host import SAMPLED_FRAMES, HostFine
from bark_onnx.sampling.loops import Loops
from bark_onnx.sampling.sequence import FineWindow
from bark_onnx.stages.coarse import CoarseSequence, coarse_windows
from bark_onnx.stages.fine import FineSequence, fine_codes
from bark_onnx.stages.semantic import SemanticSequence, semantic_tokens
from rounding import near_a_border

Floats = NDArray[np.float64]

JUST_UNDER_1 = float(np.nextafter(1.0, 0.0))
SHORT = GenerationOptions(max_seconds=0.5)
SEED_7 = (0.7978591868433563, 0.4805820057358118, 0.6320442355695731)  # the first number of each stage

# Few whole numbers, so that many tie; or many that differ by more than rounding does.
LOGITS = st.one_of(
    st.lists(st.integers(-4, 4), min_size=1, max_size=30),
    st.lists(st.integers(-2000, 2000).map(lambda n: n / 100), min_size=1, max_size=30),
).map(lambda values: np.array(values, np.float64))
UNIFORM = st.floats(0, 1, exclude_max=True)


def suno_probabilities(logits: Floats, temperature: float, top_k: int | None, top_p: float | None) -> Floats:
    """Suno's rule, token by token: top-p on the plain logits, then top-k, then temperature."""
    kept = dict(enumerate(logits))
    if top_p is not None:
        mass, plain = 0.0, np.exp(logits - logits.max())
        for token in sorted(kept, key=lambda i: -logits[i]):
            if mass > top_p:
                del kept[token]
            mass += plain[token] / plain.sum()
    if top_k is not None and top_k < len(kept):
        smallest = sorted(kept.values(), reverse=True)[top_k - 1]
        kept = {token: logit for token, logit in kept.items() if logit >= smallest}
    weights = {token: np.exp((logit - logits.max()) / temperature) for token, logit in kept.items()}
    return np.array([weights.get(token, 0.0) / sum(weights.values()) for token in range(len(logits))])


def frequencies(logits: Floats, temperature: float, draws: int) -> NDArray[np.int64]:
    p = probabilities(logits, temperature)
    uniforms = random_stream(11, "semantic").random(draws)
    return np.bincount(sample(np.tile(p, (draws, 1)), uniforms), minlength=len(logits))


def chi_squared(found: NDArray[np.int64], expected: Floats) -> float:
    """Pearson's statistic of the counts found and expected."""
    return float(((found - expected) ** 2 / expected).sum())


def softmax(logits: Floats, temperature: float) -> Floats:
    weights = np.exp(logits / temperature)
    return weights / weights.sum()


# Rules


@given(LOGITS, st.floats(0.1, 5), st.none() | st.integers(1, 40), st.none() | st.floats(0.01, 1))
@settings(max_examples=400, deadline=None)
def test_probabilities_are_sunos(logits: Floats, temperature: float, top_k: int | None, top_p: float | None) -> None:
    """Ties: all of those with the k-th best stay; of those at the border of top-p as many as are needed, whichever."""
    assume(top_p is None or not near_a_border(logits, top_p))
    ours = probabilities(logits, temperature, top_k, top_p)
    expected = suno_probabilities(logits, temperature, top_k, top_p)
    np.testing.assert_allclose(np.sort(ours), np.sort(expected), rtol=1e-9, atol=1e-12)
    for logit in np.unique(logits):  # equal logits: the same number of them
        alike = logits == logit
        assert np.count_nonzero(ours[alike]) == np.count_nonzero(expected[alike])


def test_top_k_keeps_all_that_tie_with_the_last() -> None:
    np.testing.assert_allclose(
        probabilities(np.array([1.0, 3.0, 1.0, 0.0]), 1.0, top_k=2) > 0, [True, True, True, False]
    )
    assert np.count_nonzero(probabilities(np.zeros(5), 1.0, top_k=1)) == 5


def test_top_k_counts_no_tie_where_float32_logits_differ() -> None:
    """However far below the largest the two are: the reference compares the logits themselves."""
    third = np.float32(1e-3)
    logits = np.array([10.0, np.nextafter(third, np.float32(1)), third], np.float32)
    assert np.flatnonzero(probabilities(logits, 1.0, top_k=2)).tolist() == [0, 1]


def test_top_p_keeps_the_token_that_crosses_it_and_always_one() -> None:
    logits = np.log([0.5, 0.3, 0.15, 0.05])
    for top_p, kept in ((0.001, 1), (0.49, 1), (0.51, 2), (0.79, 2), (0.81, 3), (0.96, 4), (1.0, 4)):
        assert np.count_nonzero(probabilities(logits, 1.0, top_p=top_p)) == kept


def test_top_p_is_crossed_above_it_and_not_at_it() -> None:
    """Four of exactly a quarter each: the mass has to exceed `top_p`."""
    for top_p, kept in ((0.24, 1), (0.25, 2), (0.5, 3), (0.75, 4)):
        assert np.count_nonzero(probabilities(np.zeros(4), 1.0, top_p=top_p)) == kept


@given(LOGITS, st.none() | st.integers(1, 40), st.none() | st.floats(0.01, 1), UNIFORM)
@settings(deadline=None)
def test_temperature_0_is_argmax(logits: Floats, top_k: int | None, top_p: float | None, uniform: float) -> None:
    """The first of several best, whatever else is chosen."""
    assert sample(probabilities(logits, 0, top_k, top_p), uniform) == np.argmax(logits)


@pytest.mark.parametrize("temperature", [0.0, 0.7])
@pytest.mark.parametrize("bad", [[0.0, np.nan], [np.inf, 0.0], [-np.inf, -np.inf], [np.nan, np.inf]])
def test_logits_that_are_no_numbers_are_an_error(bad: list[float], temperature: float) -> None:
    """In one position or in any of several."""
    for logits in (np.array(bad), np.array([[1.0, 2.0], bad]), np.array(bad, np.float32)):
        with pytest.raises(BarkError, match="not numbers"):
            probabilities(logits, temperature)


@given(LOGITS, st.integers(1, 3), st.sampled_from([0.0, 5e-324, 0.5, JUST_UNDER_1]) | UNIFORM)
@settings(deadline=None)
def test_tokens_without_probability_are_never_sampled(logits: Floats, top_k: int, uniform: float) -> None:
    p = probabilities(logits, 0.7, top_k)
    assert p[sample(p, uniform)] > 0


def test_the_ends_of_the_uniform_numbers() -> None:
    """0 and just under 1 give the first and the last possible token."""
    p = np.array([0.0, 0.3, 0.0, 0.7, 0.0])
    assert (sample(p, 0.0), sample(p, JUST_UNDER_1)) == (1, 3)
    assert (sample(p, 0.2999), sample(p, 0.3001)) == (1, 3)


# Frequencies


@pytest.mark.parametrize("temperature", [0.5, 1.0, 2.0])
def test_frequencies_are_the_softmax(temperature: float) -> None:
    logits = np.random.default_rng(0).normal(size=12)
    draws = 100_000
    found = frequencies(logits, temperature, draws)
    assert chi_squared(found, draws * softmax(logits, temperature)) < 31.3  # 11 degrees of freedom: p > 0.001
    assert chi_squared(found, draws * softmax(logits, 1.1 * temperature)) > 48.9  # p < 0.000001: it would be noticed


# Seeds and streams


def test_streams_of_stages_and_seeds_are_independent() -> None:
    """No number in common, and no correlation over 50 000 (at most 5 sigma)."""
    streams = [random_stream(seed, stage) for seed in (7, 8) for stage in ("semantic", "coarse", "fine")]
    numbers = np.array([stream.random(50_000) for stream in streams])
    assert len(np.unique(numbers)) == numbers.size
    correlation = np.corrcoef(numbers) - np.eye(len(streams))
    assert np.abs(correlation).max() < 5 / np.sqrt(50_000)


def test_a_stream_is_the_same_in_any_portions() -> None:
    one_by_one = random_stream(7, "coarse")
    np.testing.assert_array_equal([one_by_one.random() for _ in range(100)], random_stream(7, "coarse").random(100))


def test_drawing_together_is_drawing_one_by_one() -> None:
    logits = np.random.default_rng(1).normal(size=(2, 50, 20))
    uniforms = random_stream(7, "fine").random((2, 50))
    together = sample(probabilities(logits, 0.7, top_k=5, top_p=0.9), uniforms)
    for index in np.ndindex(2, 50):
        assert together[index] == sample(probabilities(logits[index], 0.7, top_k=5, top_p=0.9), uniforms[index])


def test_seeds_keep_their_meaning() -> None:
    """A change of these numbers is a change of what every seed means."""
    first = [random_stream(7, stage).random() for stage in ("semantic", "coarse", "fine")]
    assert first == pytest.approx(SEED_7, abs=1e-12)


class FlatFine(FineModel):
    """A fine model to which all codes are alike."""

    def __init__(self) -> None:
        """No graph."""

    def logits(self, codes: NDArray[np.int64], codebook: int) -> NDArray[np.float32]:
        return np.zeros((1, 1024, 1024), np.float32)


class OneWindow(FineModel):
    """A fine model with the same logits [T, V] for every codebook."""

    def __init__(self, logits: NDArray[np.float32]) -> None:
        self._logits = logits

    def logits(self, codes: NDArray[np.int64], codebook: int) -> NDArray[np.float32]:
        return self._logits[None]


@pytest.mark.parametrize(("frames", "first"), [(1024, 512), (100, 37), (SAMPLED_FRAMES, 0), (5, 4)])
def test_frames_sampled_in_pieces_have_the_tokens_of_one_piece(frames: int, first: int) -> None:
    rng = np.random.default_rng(3)
    logits = rng.normal(scale=3, size=(frames, 300)).astype(np.float32)
    uniforms = rng.random((frames - first, 3))
    codes = np.full((3, frames), -1)
    assert HostFine(OneWindow(logits)).fill([FineWindow(codes, first, uniforms, 0.5)], given=1) == {}
    assert (codes[0] == -1).all()
    assert (codes[:, :first] == -1).all()
    for codebook in (1, 2):
        expected = sample(probabilities(logits[first:], 0.5), uniforms[:, codebook])
        np.testing.assert_array_equal(codes[codebook, first:], expected)


def fine_codes_of_flat_logits(frames: int, voice: VoicePreset | None = None) -> list[NDArray[np.int64]]:
    """The codes [8, frames] after each window."""
    loop = HostFine(FlatFine())
    sequence = FineSequence(voice, GenerationOptions(), Vocabulary(), random_stream(7, "fine"))
    sequence.feed(np.zeros((2, frames), np.int64), ended=True)
    return [codes.copy() for codes in fine_codes(loop, sequence)]


def test_a_fine_frames_numbers_depend_on_its_place_alone() -> None:
    """Frames before the first overlap get the same codes whatever the length and the voice; each gets its own."""
    history = np.zeros((8, 300), np.int64)
    voice = VoicePreset(history[0], history[:2], history)
    longest = fine_codes_of_flat_logits(1300)[-1]
    for frames, before in ((40, None), (900, None), (200, voice), (1300, voice)):
        codes = fine_codes_of_flat_logits(frames, before)[-1]
        np.testing.assert_array_equal(codes[:, :512], longest[:, : min(frames, 512)])
    assert len(np.unique(longest[2:].ravel())) > 900


def test_overlapping_fine_windows_take_numbers_of_their_own() -> None:
    first, last = fine_codes_of_flat_logits(1300)
    np.testing.assert_array_equal(first[:, :512], last[:, :512])
    assert (first[2:, 512:1024] != last[2:, 512:1024]).mean() > 0.99


@pytest.mark.parametrize("seed", [-1, 2**64])
def test_seeds_out_of_range_are_an_error(seed: int, bark: Bark) -> None:
    with pytest.raises(BarkError, match="seed"):
        random_stream(seed, "semantic")
    with pytest.raises(BarkError, match="seed"):
        bark.generate("Hello", options=SHORT, seed=seed)


def test_largest_seed(bark: Bark) -> None:
    assert len(bark.semantic("Hello", options=SHORT, seed=2**64 - 1)) > 0


# End to end


def test_a_seed_makes_the_same_speech_again(bark: Bark) -> None:
    first, second, other = (bark.generate("Hello world", options=SHORT, seed=seed) for seed in (7, 7, 8))
    for name, array in first.tokens.to_prompt().items():
        np.testing.assert_array_equal(array, second.tokens.to_prompt()[name])
    np.testing.assert_array_equal(first.waveform, second.waveform)
    assert first.tokens.semantic.tolist() != other.tokens.semantic.tolist()


def test_the_speech_has_its_drawn_seed(bark: Bark) -> None:
    options = GenerationOptions(max_seconds=0.5, allow_early_stop=False)  # the tiny model ends at once for some seeds
    speech, other = (bark.generate("Hello world", options=options) for _ in range(2))
    again = bark.generate("Hello world", options=options, seed=speech.seed)
    np.testing.assert_array_equal(speech.tokens.fine, again.tokens.fine)
    assert speech.seed != other.seed


def test_generate_is_its_four_stages(bark: Bark) -> None:
    speech = bark.generate("Hello world", options=SHORT, seed=7)
    semantic = bark.semantic("Hello world", options=SHORT, seed=7)
    coarse = bark.coarse(semantic, options=SHORT, seed=7)
    fine = bark.fine(coarse, options=SHORT, seed=7)
    np.testing.assert_array_equal(speech.tokens.semantic, semantic)
    np.testing.assert_array_equal(speech.tokens.coarse, coarse)
    np.testing.assert_array_equal(speech.tokens.fine, fine)
    np.testing.assert_array_equal(speech.waveform, bark.decode(fine))


def test_every_stage_samples_from_the_stream_of_its_name(bark: Bark) -> None:
    space, options = bark.vocabulary, SHORT
    ids = bark._tokenizer.encode("Hello world")
    sizes, loops = bark._networks.sizes, Loops(bark._networks)
    stream, loop = random_stream(7, "semantic"), loops.semantic
    utterance = SemanticSequence(ids, None, options, space, sizes.semantic.no_history_id, stream)
    semantic = np.array(list(semantic_tokens(loop, loop.new_cache(), utterance)))
    np.testing.assert_array_equal(bark.semantic("Hello world", options=options, seed=7), semantic)

    spoken = CoarseSequence(None, options, space, sizes.coarse.context, random_stream(7, "coarse"))
    spoken.feed(semantic.tolist(), ended=True)
    loop = loops.coarse
    assert list(coarse_windows(loop, loop.new_cache(), spoken))[-1] == spoken.total
    coarse = spoken.codes()
    np.testing.assert_array_equal(bark.coarse(semantic, options=options, seed=7), coarse)

    filled = FineSequence(None, options, space, random_stream(7, "fine"))
    filled.feed(coarse, ended=True)
    *_, fine = fine_codes(loops.fine, filled)
    np.testing.assert_array_equal(bark.fine(coarse, options=options, seed=7), fine)


def test_earlier_utterances_do_not_change_the_next(bark: Bark) -> None:
    """The kept caches hold another utterance when the next one begins."""
    first = bark.generate("Hello world", options=SHORT, seed=7)
    bark.generate("the dog is laughing", voice=first.tokens, options=SHORT, seed=3)
    again = bark.generate("Hello world", options=SHORT, seed=7)
    np.testing.assert_array_equal(first.tokens.fine, again.tokens.fine)


@pytest.mark.parametrize("temperature", [0.0, 0.7])
def test_coarse_windows_with_and_without_the_kept_cache(
    bark: Bark, monkeypatch: pytest.MonkeyPatch, temperature: float
) -> None:
    """Windows that reuse the last window's cache have the codes of windows that are prefilled from the beginning."""
    semantic = np.random.default_rng(3).integers(0, bark.vocabulary.semantic_size, 120)
    options = GenerationOptions(coarse_temperature=temperature)
    prefill = CausalDecoder.prefill

    def codes(before_prefill: Callable[[KVCache], None]) -> list[int]:
        def changed(decoder: CausalDecoder, cache: KVCache, *ids: Any) -> Any:
            before_prefill(cache)
            return prefill(decoder, cache, *ids)

        monkeypatch.setattr(CausalDecoder, "prefill", changed)
        loop, stream = Loops(bark._networks).coarse, random_stream(7, "coarse")
        sequence = CoarseSequence(None, options, bark.vocabulary, bark._networks.sizes.coarse.context, stream)
        sequence.feed(semantic.tolist(), ended=True)
        list(coarse_windows(loop, loop.new_cache(), sequence))
        return sequence.codes().ravel().tolist()

    def forget(cache: KVCache) -> None:
        cache.lengths[:] = 0

    def spoil(cache: KVCache) -> None:
        cache.memory.owner[:] = 1

    anew = codes(forget)
    assert codes(lambda cache: None) == anew
    assert codes(spoil) != anew  # so the cache is kept indeed
