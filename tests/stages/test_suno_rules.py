"""Windows, histories, lengths and sampling equal suno-ai/bark's, which golden/suno.json holds (see its README).

The values were recorded with fake models whose logits are one-hot at these codes, where `last` is the last id of the
context and `position` its place in it (the semantic prompt has 257 places; in a fine pass, the frame of the window):

    semantic    (31 * last + 7 * position) % 10000
    coarse      (31 * last + 7 * position) % 1024, in both codebooks
    fine        (30 * sum + 7 * position + 13 * codebook) % 1024, sum: of a frame's codes up to and with this codebook

Every record names its input: `voice` is a preset, [S, T] for a synthetic one, or null.
"""

import hashlib
import json
from collections.abc import Sequence
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray
from tokenizers import Tokenizer as WordPiece
from tokenizers import models, pre_tokenizers

from bark_onnx import GenerationOptions, Vocabulary, VoicePreset
from bark_onnx.graphs.decoder import CausalDecoder
from bark_onnx.graphs.fine import FineModel
from bark_onnx.model.tokenizer import Tokenizer
from bark_onnx.sampling.distribution import probabilities, random_stream
from bark_onnx.sampling.host import HostFine, HostLoop
from bark_onnx.stages.coarse import CoarseSequence, coarse_windows
from bark_onnx.stages.fine import FineSequence, fine_codes
from bark_onnx.stages.semantic import SemanticSequence, semantic_prompt, semantic_tokens

Record = dict[str, Any]
Ids = NDArray[np.int64]

GOLDEN = json.loads((Path(__file__).parents[1] / "golden" / "suno.json").read_text())
SPACE = Vocabulary()
GREEDY = {"text_temperature": 0, "coarse_temperature": 0, "fine_temperature": 0}
NO_CACHE: Any = SimpleNamespace(clear=lambda: None)
FIRST_POSSIBLE: Any = SimpleNamespace(random=lambda: 0.0)  # the stream with which the smallest possible id is sampled


def digest(ids: Any) -> str:
    return hashlib.sha256(np.ascontiguousarray(ids, "<i8").tobytes()).hexdigest()[:16]


def records(section: str, *keys: str) -> pytest.MarkDecorator:
    """One test for each record of a section."""
    ids = ["-".join(str(record[key]).replace(" ", "") for key in keys) for record in GOLDEN[section]]
    return pytest.mark.parametrize("expected", GOLDEN[section], ids=ids)


def history(expected: Record, request: pytest.FixtureRequest) -> VoicePreset | None:
    """The voice of a record; a preset is the one with which it was recorded."""
    voice = expected["voice"]
    if voice is None:
        return None
    if isinstance(voice, str):
        preset = VoicePreset.load(request.getfixturevalue("voices") / f"{voice}.npz")
        tokens = b"".join(np.ascontiguousarray(array, "<i8").tobytes() for array in preset.to_prompt().values())
        assert hashlib.sha256(tokens).hexdigest() == GOLDEN["presets"][voice], "another preset than the recorded one"
        return preset
    length, frames = voice
    frame, codebook = np.arange(frames), np.arange(SPACE.fine_codebooks)[:, None]
    return VoicePreset(
        (17 * np.arange(length) + 5) % 10_000,
        (13 * frame + 101 * codebook[:2] + 3) % 1024,
        (11 * frame + 57 * codebook + 7) % 1024,
    )


class FakeCausal(CausalDecoder):
    """A CausalDecoder whose logits follow the rule. It keeps every prompt. Its last logit is the end token's."""

    size: Any = SimpleNamespace(context=1024, no_history_id=-1)

    def __init__(self, codes: int, codebooks: int) -> None:
        self.prompts: list[Ids] = []
        self._codes, self._codebooks = codes, codebooks
        self._position = 0

    def prefill(self, cache: object, input_ids: Ids, *_: object) -> NDArray[np.float32]:
        self.prompts.append(input_ids.copy())
        self._position = len(input_ids) - 1
        return self._logits(input_ids[-1])

    def decode_step(self, cache: object, tokens: Sequence[int], *_: object) -> NDArray[np.float32]:
        self._position += 1
        assert self._position < 1024
        return self._logits(tokens[0])[None]

    def _logits(self, last: int) -> NDArray[np.float32]:
        own = np.zeros(self._codes, np.float32)
        own[(31 * int(last) + 7 * self._position) % self._codes] = 1e4
        return np.append(np.tile(own, self._codebooks), np.float32(0))


class FakeFine(FineModel):
    """A FineModel whose logits follow the rule. It keeps every pass."""

    def __init__(self) -> None:
        self.passes: list[tuple[int, Ids]] = []

    def logits(self, codes: Ids, codebook: int) -> NDArray[np.float32]:
        (codes,) = codes  # one window
        self.passes.append((codebook, codes.copy()))
        position = np.arange(codes.shape[1])
        logits = np.zeros((codes.shape[1], 1024), np.float32)
        logits[position, (30 * codes[: codebook + 1].sum(axis=0) + 7 * position + 13 * codebook) % 1024] = 1e4
        return logits[None]


@records("semantic_prompts", "voice", "text")
def test_semantic_prompt(expected: Record, request: pytest.FixtureRequest, tmp_path: Path) -> None:
    """The 513 ids: text cut or padded, the voice's last tokens beside it, the infer token."""
    words = WordPiece(models.WordPiece({"[UNK]": 0} | {f"w{i}": 37 * i + 101 for i in range(400)}, unk_token="[UNK]"))
    words.pre_tokenizer = pre_tokenizers.Whitespace()
    words.save(str(tmp_path / "tokenizer.json"))
    text = " ".join(f"w{i}" for i in range(expected["text"]))
    tokenizer = Tokenizer(tmp_path / "tokenizer.json", SPACE)
    if expected["text"] > SPACE.text_window:
        with pytest.warns(UserWarning, match="cut off"):
            text_ids = tokenizer.encode(text)
    else:
        text_ids = tokenizer.encode(text)

    inputs, beside = semantic_prompt(text_ids, history(expected, request), -1, SPACE)

    assert beside[-1] == -1  # nothing is added to the infer token
    x = np.concatenate([inputs[:-1], beside[:-1], inputs[-1:]])
    assert (
        expected
        | {
            "sha256": digest(x),
            "head": x[:4].tolist(),
            "history": x[256:260].tolist(),
            "tail": x[508:].tolist(),
        }
        == expected
    )


@records("semantic_lengths", "max_seconds")
def test_semantic_length(expected: Record) -> None:
    """How many tokens a duration allows, and that each step sees the token before it at the next position."""
    options = GenerationOptions(**GREEDY, max_seconds=expected["max_seconds"])
    ids = np.zeros(SPACE.text_window, np.int64)
    decoder = FakeCausal(SPACE.semantic_size, codebooks=1)
    sequence = SemanticSequence(ids, None, options, SPACE, decoder.size.no_history_id, random_stream(0, "semantic"))
    tokens = list(semantic_tokens(HostLoop(decoder), NO_CACHE, sequence))
    assert expected | {"tokens": len(tokens), "sha256": digest(tokens), "first": tokens[:3]} == expected


@records("sampling", "end_logit", "temperature", "top_k", "top_p", "min_eos_p", "allow_early_stop")
def test_sampling(expected: Record) -> None:
    """Which tokens stay possible, how probable they are, and whether the utterance ends.

    The logits are (7919 i mod 10007) / 200, the end token's is given. Probabilities agree within 1e-5, since the
    reference's are float32.
    """
    logits = ((7919 * np.arange(10_001)) % 10_007 / 200).astype(np.float32)
    logits[-1] = expected["end_logit"]
    early, temperature = expected["allow_early_stop"], expected["temperature"]
    p = probabilities(logits if early else logits[:-1], temperature, expected["top_k"], expected["top_p"])
    kept = np.flatnonzero(p)
    assert (len(kept), digest(kept)) == (expected["kept"], expected["sha256"])
    assert p.max() == pytest.approx(expected["largest"], abs=1e-5)
    assert not early or p[-1] == pytest.approx(expected["end"], abs=1e-5)

    decoder = FakeCausal(SPACE.semantic_size, codebooks=1)
    decoder.prefill = lambda *_: logits  # type: ignore[assignment, method-assign]
    chosen = {key: expected[key] for key in ("top_k", "top_p", "min_eos_p", "allow_early_stop")}
    options = GenerationOptions(text_temperature=temperature, max_seconds=0.001, **chosen)
    ids = np.zeros(SPACE.text_window, np.int64)
    sequence = SemanticSequence(ids, None, options, SPACE, decoder.size.no_history_id, FIRST_POSSIBLE)
    tokens = list(semantic_tokens(HostLoop(decoder), NO_CACHE, sequence))
    assert (tokens == []) == expected["stops"]


@records("coarse", "voice", "semantic", "max_coarse_history", "sliding_window")
def test_coarse(expected: Record, request: pytest.FixtureRequest) -> None:
    """The context with which every window starts, and the codes."""
    semantic = (29 * np.arange(expected["semantic"]) + 11) % 10_000
    options = GenerationOptions(**GREEDY, **{key: expected[key] for key in ("max_coarse_history", "sliding_window")})
    voice, stream = history(expected, request), random_stream(0, "coarse")
    decoder = FakeCausal(SPACE.codebook_size, SPACE.coarse_codebooks)
    sequence = CoarseSequence(voice, options, SPACE, decoder.size.context, stream)
    sequence.feed(semantic.tolist(), ended=True)
    list(coarse_windows(HostLoop(decoder), NO_CACHE, sequence))
    codes, prompts = sequence.codes(), decoder.prompts
    assert (
        expected
        | {
            "windows": [[len(prompt), digest(prompt)] for prompt in prompts],
            "first_window": [*prompts[0][:2].tolist(), *prompts[0][255:260].tolist()],
            "last_window": prompts[-1][-4:].tolist(),
            "frames": codes.shape[1],
            "codes": digest(codes),
            "first_codes": codes[:, :4].tolist(),
        }
        == expected
    )


@records("fine", "voice", "frames", "given")
def test_fine(expected: Record, request: pytest.FixtureRequest) -> None:
    """What every pass sees, and the codes."""
    frames, given = expected["frames"], expected["given"]
    coarse = (19 * np.arange(frames) + 83 * np.arange(given)[:, None] + 1) % 1024
    model = FakeFine()
    voice, stream = history(expected, request), random_stream(0, "fine")
    sequence = FineSequence(voice, GenerationOptions(**GREEDY), SPACE, stream, given=given)
    sequence.feed(coarse, ended=True)
    *_, codes = fine_codes(HostFine(model), sequence)
    assert (
        expected
        | {
            "passes": [[codebook, digest(window)] for codebook, window in model.passes],
            "first_frame": model.passes[0][1][:, 0].tolist(),
            "last_frame": model.passes[-1][1][:, -1].tolist(),
            "codes": digest(codes),
            "codes_last_frame": codes[:, -1].tolist(),
        }
        == expected
    )
