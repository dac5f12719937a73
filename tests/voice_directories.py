"""Voice presets by chance, in both their formats, and directories to put them in."""

from pathlib import Path

import numpy as np

from bark_onnx import VoicePreset


def make_voice(seed: int = 0) -> VoicePreset:
    rng = np.random.default_rng(seed)
    fine = rng.integers(1024, size=(8, 150))
    return VoicePreset(rng.integers(10_000, size=100), fine[:2], fine)


def write_triple(directory: Path, name: str, voice: VoicePreset) -> None:
    """As the hub has voices: one .npy file for each array."""
    (directory / name).parent.mkdir(parents=True, exist_ok=True)
    for key, array in voice.to_prompt().items():
        np.save(directory / f"{name}_{key}.npy", array)


def ensure(directory: Path) -> Path:
    directory.mkdir(parents=True, exist_ok=True)
    return directory


def make_small_voice(seed: int = 0) -> VoicePreset:
    """A voice of the generated checkpoints' small token space."""
    rng = np.random.default_rng(seed)
    fine = rng.integers(64, size=(8, 150))
    return VoicePreset(rng.integers(100, size=100), fine[:2], fine)
