"""Write a bundle's voices."""

import warnings
from pathlib import Path

from bark_onnx.errors import BarkWarning, VoiceError
from bark_onnx.model.vocabulary import Vocabulary
from bark_onnx.model.voice import VoicePreset

from .voice_files import read_voices


def write_voices(
    source: Path, target: Path, vocabulary: Vocabulary, *, checkpoint: Path | None = None
) -> dict[str, VoicePreset]:
    """Write every voice below `source` (`.npz`, or triples of `.npy`) to `target`, and return them by name.

    Args:
        checkpoint: the directory of the checkpoint to which `source` belongs; None if the user gave `source`. A voice
            of a checkpoint that cannot be used is left out with a warning, and the export goes on. A voice of the user
            that cannot be used is an error.

    Raises:
        VoiceError: the user's directory has no voices, or one that cannot be used.
    """
    found = read_voices(source, vocabulary, within=checkpoint)
    problems = found.problems()
    if not found.presets and not problems:
        problems = ["it has no voices: neither .npz files nor .npy triples (NAME_semantic_prompt.npy ...)"]
    if problems and checkpoint is None:
        raise VoiceError(f"{source}: {'; '.join(problems)}")
    for problem in problems:
        warnings.warn(f"{source.name} of the checkpoint: {problem}", BarkWarning, stacklevel=2)
    for name, voice in found.presets.items():
        path = target / f"{name}.npz"
        path.parent.mkdir(parents=True, exist_ok=True)
        voice.save(path)
    return found.presets
