"""The token space: units, phones, and the networks and the tokenizer that use it."""

from pathlib import Path

from bark_onnx.model.sizes import misfits
from bark_onnx_nano import units
from bark_onnx_nano.text import tokenizer
from bark_onnx_nano.training.codec import SIZE as CODEC
from bark_onnx_nano.training.transformer import SIZES
from bark_onnx_nano.units import UNITS, Segment

V = units.VOCABULARY


def test_tokens_follow_the_timings() -> None:
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


def test_a_repeated_phone_counts_twice() -> None:
    twice = [Segment("t", False, (0.02, 0.04, 0.06)), Segment("t", False, (0.08, 0.10, 0.12))]
    assert units.phones(units.tokens(twice, "slt", 0.12)) == ["t", "t"]


def test_all_networks_and_the_tokenizer_fit_the_token_space(tmp_path: Path) -> None:
    assert not [problem for stage, size in SIZES.items() for problem in misfits(stage, size, V)]
    assert misfits("codec", CODEC, V) == []
    encoder = tokenizer.encoder(tokenizer.write(tmp_path / "tokenizer.json"))
    ids = encoder.encode("Don't [laughs] at café 12!")
    assert V.text_offset + tokenizer.PIECES.index("[UNK]") not in ids
    assert ids.max() == V.text_pad
