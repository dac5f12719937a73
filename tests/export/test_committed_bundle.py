"""The bundle in tests/bundles is what its program writes today."""

import importlib.util
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from bark_onnx.graphs.device import Device
from bark_onnx.graphs.networks import Networks
from bark_onnx.model.bundle import Bundle
from bark_onnx.model.manifest import SAMPLERS as SAMPLING_STAGES
from bark_onnx.model.manifest import graph_file
from bark_onnx_bench.checkpoints import SMALL_VOCABULARY
from tiny import HERE, SAMPLERS, SPACE, TINY

TOLERANCE = 1e-5
LARGEST = 700_000  # bytes of the whole folder


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> Path:
    spec = importlib.util.spec_from_file_location("make", HERE / "make.py")
    assert spec is not None
    assert spec.loader is not None
    program = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(program)
    directory = tmp_path_factory.mktemp("made")
    program.make(directory)
    return directory


@pytest.fixture(scope="module")
def networks(made: Path) -> tuple[Networks, Networks]:
    """Of the committed bundle, and of the one made now."""
    committed, new = (Networks(Bundle.open(path), Device("cpu", 1)) for path in (TINY, made / "tiny"))
    return committed, new


def test_the_manifest_differs_in_hashes_only(made: Path) -> None:
    committed, new = Bundle.open(TINY).manifest, Bundle.open(made / "tiny").manifest
    assert replace(new, files={}, quality={}) == replace(committed, files={}, quality={})
    assert new.files.keys() == committed.files.keys()
    assert SPACE == SMALL_VOCABULARY


@pytest.mark.parametrize("stage", ["semantic", "coarse"])
def test_the_causal_networks_compute_the_same(networks: tuple[Networks, Networks], stage: str) -> None:
    ids = np.random.default_rng(1).integers(0, SPACE.coarse_semantic_pad, 300)
    found = []
    for loaded in networks:
        decoder = getattr(loaded, stage)
        cache = decoder.new_cache()
        found.append(
            [decoder.prefill(cache, ids).copy(), *(decoder.decode_step(cache, [id])[0].copy() for id in ids[:9])]
        )
    np.testing.assert_allclose(*found, rtol=0, atol=TOLERANCE)


def test_the_fine_network_computes_the_same(networks: tuple[Networks, Networks]) -> None:
    codes = np.random.default_rng(2).integers(0, SPACE.codebook_size + 1, (1, 8, SPACE.fine_window))
    for codebook in range(2, 8):
        np.testing.assert_allclose(*(n.fine.logits(codes, codebook) for n in networks), rtol=0, atol=TOLERANCE)


def test_the_codec_computes_the_same(networks: tuple[Networks, Networks]) -> None:
    codes = np.random.default_rng(3).integers(0, SPACE.codebook_size, (8, 90))
    np.testing.assert_allclose(*(n.codec.decode(codes) for n in networks), rtol=0, atol=TOLERANCE)


def test_tokenizer_and_samplers_are_the_same_files(made: Path) -> None:
    """They have no weights."""
    assert (made / "tiny" / "tokenizer.json").read_text() == (TINY / "tokenizer.json").read_text()
    names = sorted(graph_file(stage, part) for stage, part in SAMPLING_STAGES)
    for directory in (SAMPLERS, made / "samplers"):
        assert sorted(path.name for path in directory.iterdir()) == names
    assert [name for name in names if (SAMPLERS / name).read_bytes() != (made / "samplers" / name).read_bytes()] == []


def test_the_folder_stays_small() -> None:
    assert sum(path.stat().st_size for path in HERE.rglob("*") if path.is_file()) < LARGEST
