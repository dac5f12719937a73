"""TensorRT: its package, its profiles and engines, and what falls back to CUDA and the CPU."""

import sys
from pathlib import Path

import numpy as np
import pytest

from bark_onnx import Bark, DeviceError
from bark_onnx.graphs.causal_graph import CAUSAL_INPUTS, cache_names
from bark_onnx.graphs.device import Device
from bark_onnx.graphs.networks import Networks
from bark_onnx.graphs.tensorrt import ROWS, EngineProfile, causal_profile, engine_directory, fine_profile
from bark_onnx.graphs.tensorrt_decoder import TensorRTDecoder
from bark_onnx.model.bundle import Bundle
from bark_onnx.model.sizes import TransformerSize

CUDA = ["CUDAExecutionProvider", "CPUExecutionProvider"]
ALL = ["TensorrtExecutionProvider", "CUDAExecutionProvider", "CPUExecutionProvider"]
SIZE = TransformerSize(2, 4, 64, 1024, 500, 100)


def test_tensorrt_falls_back_to_cuda_and_the_cpu(gpus: None, tmp_path: Path) -> None:
    device = Device.choose("tensorrt:1", options={"trt_builder_optimization_level": "5"})
    profile = fine_profile("codes", 1024, 8, half=True, engines=tmp_path / "engines")
    names, options = zip(*device.providers(profile), strict=True)
    assert list(names) == ALL
    assert [own.get("device_id") for own in options] == ["1", "1", None]
    assert options[0]["trt_builder_optimization_level"] == "5"
    assert options[0]["trt_fp16_enable"] == "1"
    assert options[0]["trt_engine_cache_path"] == str(tmp_path / "engines")
    assert options[0]["trt_timing_cache_path"] == str(tmp_path)
    assert options[0]["trt_profile_max_shapes"] == f"codes:{ROWS}x1024x8"
    assert [name for name, _ in device.providers(None)] == CUDA  # a graph that is left to CUDA


def test_tensorrt_is_loaded_from_its_package(
    gpus: None, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "tensorrt.py").write_text("print('loaded')")
    monkeypatch.syspath_prepend(tmp_path)
    Device.choose("cuda")
    assert "tensorrt" not in sys.modules
    Device.choose("tensorrt")
    assert "tensorrt" in sys.modules
    monkeypatch.delitem(sys.modules, "tensorrt")
    assert capsys.readouterr().out == ""  # audio may be written there


def test_profiles_hold_every_shape_of_a_causal_graph(tmp_path: Path) -> None:
    *ids, row = CAUSAL_INPUTS[:4]
    cache = cache_names("past", SIZE.layers)
    profile = causal_profile(ids, row, cache, SIZE, (1, 257, 1024), ROWS, half=False, engines=tmp_path)
    options = profile.options()
    for kind, rows, length in (("min", 1, 1), ("opt", 1, 257), ("max", ROWS, 1024)):
        shapes = dict(part.split(":") for part in options[f"trt_profile_{kind}_shapes"].split(","))
        assert shapes == {
            **dict.fromkeys(ids, f"{rows}x{length}"), row: str(rows), **dict.fromkeys(cache, f"{rows}x4x1024x16")
        }  # fmt: skip
    assert options["trt_fp16_enable"] == "0"


def test_engines_of_other_weights_have_another_directory(
    bundle: Path, bundle_with_voice: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """ONNX Runtime names an engine by its graph, which is the same for all weights."""
    monkeypatch.setenv("BARK_ONNX_CACHE", str(tmp_path))
    places = {
        engine_directory(Bundle.open(directory), stage)
        for directory in (bundle, bundle_with_voice)
        for stage in ("semantic", "coarse")
    }
    assert len(places) == 4
    assert all(place.is_dir() and place.is_relative_to(tmp_path) for place in places)
    monkeypatch.delenv("BARK_ONNX_CACHE")
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "home"))
    assert engine_directory(Bundle.open(bundle), "fine").is_relative_to(tmp_path / "home" / "bark-onnx")


def test_tensorrt_needs_the_portable_layout(gpus: None, bundle: Path) -> None:
    with pytest.raises(DeviceError, match="export the bundle with --layout portable"):
        Bark.load(bundle, device="tensorrt")


def test_tensorrt_has_an_engine_for_each_verb(
    bundle: Path, bark: Bark, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Run by the CPU in TensorRT's place: the logits are those of one graph."""
    monkeypatch.setenv("BARK_ONNX_CACHE", str(tmp_path))
    profiles: list[EngineProfile] = []

    def providers(device: Device, profile: EngineProfile, *, captures: bool = False) -> object:
        profiles.append(profile)
        return [("CPUExecutionProvider", {})]

    monkeypatch.setattr(Device, "providers", providers)
    monkeypatch.setattr(Device, "memory", "cpu")
    networks = Networks(Bundle.open(bundle), Device("tensorrt", 1))
    assert isinstance(networks.semantic, TensorRTDecoder)
    decoder = networks.coarse
    step = ((1, 1), (1, 1), (ROWS, 1))
    assert [profile.shapes["input_ids"] for profile in profiles] == [
        ((1, 1), (1, 257), (1, 1024)), step,  # prompts of the semantic stage have 257 positions
        ((1, 1), (1, 887), (1, 1024)), step,
    ]  # fmt: skip
    assert [profile.cache.name for profile in profiles] == 2 * ["prefill", "step"]
    logits = []
    for own in (decoder, bark._networks.coarse):
        cache = own.new_cache(2)
        logits.append([own.prefill(cache, np.arange(200), row=1), own.decode_step(cache, [5], [1])[0].copy()])
    np.testing.assert_array_equal(*logits)
    with pytest.raises(DeviceError, match=f"up to {ROWS} sequences together, not {ROWS + 1}"):
        decoder.new_cache(ROWS + 1)
