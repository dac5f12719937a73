"""Execution providers in libraries of their own, which ONNX Runtime loads while it runs: plugins.

See https://onnxruntime.ai/docs/execution-providers/plugin-ep-libraries/.
"""

from functools import cache
from pathlib import Path
from typing import Any

import onnxruntime as ort

from ..errors import DeviceError, reason


def plugin_device(name: str, index: int, library: str) -> Any:
    """Return one device of a plugin's provider, as ONNX Runtime describes it (OrtEpDevice).

    Args:
        name: of the provider, such as `openvino`.
        index: which of the provider's devices; 0 is the first.
        library: path of the plugin's library. It stays loaded until the process ends.

    Raises DeviceError if the library is not a plugin, or does not have the device.
    """
    path = Path(library).expanduser()
    if not path.is_file():
        raise DeviceError(f"device {name!r}: no file {library!r}; a plugin is given as NAME=PATH of its library")
    path = path.absolute()
    try:
        devices = _load(path)
    except Exception as error:  # ONNX Runtime's exceptions share no base class
        raise DeviceError(f"device {name!r}: ONNX Runtime cannot load {path} as a plugin ({reason(error)})") from None
    if not devices:
        raise DeviceError(f"device {name!r}: {path.name} finds no device on this machine")
    own = [device for device in devices if name.lower() in (device.ep_name.lower(), short_name(device.ep_name))]
    if not own:
        names = ", ".join(dict.fromkeys(short_name(device.ep_name) for device in devices))
        raise DeviceError(f"device {name!r}: the provider of {path.name} is called {names}")
    if index >= len(own):
        raise DeviceError(f"device '{name}:{index}': {path.name} finds {len(own)} on this machine, from {name}:0 on")
    return own[index]


def short_name(provider: str) -> str:
    """`OpenVINOExecutionProvider` -> `openvino`."""
    return provider.removesuffix("ExecutionProvider").lower()


@cache
def _load(path: Path) -> tuple[Any, ...]:
    """Load a plugin, and return its devices."""
    known = {device.ep_name for device in ort.get_ep_devices()}
    ort.register_execution_provider_library(str(path), str(path))
    return tuple(device for device in ort.get_ep_devices() if device.ep_name not in known)
