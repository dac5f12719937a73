"""Execution providers in libraries of their own: which are refused, and in which words.

tests/export/test_portable.py speaks with a real one, where it is installed.
"""

from pathlib import Path
from types import SimpleNamespace

import numpy as np
import onnxruntime as ort
import pytest

from bark_onnx import Bark, DeviceError
from bark_onnx.graphs import plugin as plugin_module
from bark_onnx.graphs.device import Device
from run_command import assert_fails, run

OPENVINO = "OpenVINOExecutionProvider"


@pytest.fixture
def library(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The file of a plugin that finds two devices for one provider, and one for another."""
    devices = tuple(SimpleNamespace(ep_name=name, number=n) for n, name in enumerate([OPENVINO, "Other", OPENVINO]))
    monkeypatch.setattr(plugin_module, "_load", lambda path: devices)
    path = tmp_path / "plugin.so"
    path.touch()
    return path


@pytest.mark.parametrize(("name", "number"), [("openvino", 0), ("OpenVINO:1", 2), (OPENVINO, 0), ("other:0", 1)])
def test_a_device_of_a_plugin(library: Path, name: str, number: int) -> None:
    device = Device.choose(f"{name}={library}", 1, options={"precision": "FP32"})
    assert device.plugin.number == number
    assert device.provider == device.plugin.ep_name
    assert device.providers(None) == [(device.provider, {"precision": "FP32"}), ("CPUExecutionProvider", {})]
    assert (device.memory, device.samples, device.threads) == ("cpu", False, 1)


@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("cuda", r"device 'cuda': the provider of plugin\.so is called openvino, other"),
        ("openvino:2", r"device 'openvino:2': plugin\.so finds 2 on this machine, from openvino:0 on"),
        ("openvino:x", r"device 'openvino:x': openvino:0 is the first device"),
    ],
)
def test_a_device_that_a_plugin_does_not_have(library: Path, name: str, message: str) -> None:
    with pytest.raises(DeviceError, match=message):
        Device.choose(f"{name}={library}")


def test_a_plugin_without_devices(library: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(plugin_module, "_load", lambda path: ())
    with pytest.raises(DeviceError, match=r"device 'openvino': plugin\.so finds no device on this machine"):
        Device.choose(f"openvino={library}")


def test_a_plugin_needs_the_portable_layout(library: Path, bundle: Path) -> None:
    with pytest.raises(DeviceError, match=f"{OPENVINO} runs standard operators only: export the bundle with --layout"):
        Bark.load(bundle, device=f"openvino={library}")


def test_files_that_are_no_plugins(tmp_path: Path, bundle: Path) -> None:
    """By ONNX Runtime itself: a text, and a library of something else."""
    said = run("say", "hello", "--bundle", bundle, "--device", "openvino=missing.so", "-o", tmp_path / "x.wav")
    assert_fails(said, "device 'openvino': no file 'missing.so'; a plugin is given as NAME=PATH of its library")
    text = tmp_path / "text.so"
    text.write_text("not a library")
    before = ort.get_available_providers()
    for path in (text, Path(np._core._multiarray_umath.__file__)):
        with pytest.raises(DeviceError, match=r"^device 'openvino': ONNX Runtime cannot load \S+ as a plugin \(.*\)$"):
            Device.choose(f"openvino={path}")
    assert ort.get_available_providers() == before
