"""The checkpoint that the recipe writes, read by the exporter."""

from pathlib import Path

import numpy as np
import pytest
import torch

from bark_onnx.model.sizes import TransformerSize
from bark_onnx.model.voice import VoicePreset
from bark_onnx_export.checkpoint import open_checkpoint
from bark_onnx_export.modules.codec import CodecModule
from bark_onnx_nano.checkpoint import configuration
from bark_onnx_nano.checkpoint.tensors import SHARPENING
from bark_onnx_nano.checkpoint.write import write
from bark_onnx_nano.corpus.codebooks import FILE, Codebooks
from bark_onnx_nano.training import transformer
from bark_onnx_nano.training.codec import SIZE as CODEC
from bark_onnx_nano.units import VOCABULARY
from nano_data import some_codebooks, some_tokens

V = VOCABULARY


def test_the_exporter_reads_the_recipe_s_checkpoint(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    small = {
        "semantic": TransformerSize(1, 2, 16, 1024, V.semantic_infer + 1, V.text_offset),
        "coarse": TransformerSize(1, 2, 16, 1024, V.coarse_infer + 1, V.coarse_infer + 1),
        "fine": TransformerSize(1, 2, 16, 1024, 1056, 1056),
    }
    monkeypatch.setattr(configuration, "SIZES", small)
    monkeypatch.setattr(transformer, "SIZES", small)
    torch.manual_seed(0)
    built = {stage: transformer.build(stage) for stage in small}
    torch.nn.init.normal_(built["fine"].norm.bias)
    for stage, module in built.items():
        torch.save({"module": module.state_dict()}, tmp_path / f"{stage}.pt")
    decoder = CodecModule(CODEC)
    torch.nn.init.normal_(decoder.codebooks)
    torch.save({"module": decoder.state_dict()}, tmp_path / "codec.pt")
    books = some_codebooks()
    books.save(tmp_path / FILE)
    tokens = some_tokens(2)
    write(tmp_path, tmp_path / "out", tokens, {"slt": 0, "rms": 1})

    assert torch.equal(Codebooks.load(tmp_path / "out" / FILE).tables, books.tables)
    opened = open_checkpoint(str(tmp_path / "out"))
    assert opened.vocabulary == V
    for stage, module in built.items():
        weights = opened.load(stage)
        assert weights.size == small[stage]
        for name in ("blocks.0.mlp.up.weight", "position_embedding.weight"):
            assert torch.equal(weights.tensors[name], module.state_dict()[name].half().float())
        for sharpened in ("norm.weight", "norm.bias") if stage == "fine" else ("head.weight",):
            made = module.state_dict()[sharpened] * SHARPENING[stage]
            assert torch.equal(weights.tensors[sharpened], made.half().float())
    weights = opened.load("codec")
    assert weights.size == CODEC
    for name, tensor in decoder.state_dict().items():
        torch.testing.assert_close(weights.tensors[name], tensor, atol=2e-3, rtol=2e-3)
    voice = VoicePreset.load(tmp_path / "out" / "speaker_embeddings" / "en_female.npz")
    voice.check(V)
    assert np.array_equal(voice.fine, tokens.codes[0])
