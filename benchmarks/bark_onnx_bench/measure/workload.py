"""The workload of every comparison: 256 semantic tokens, 768 coarse codes, one fine window, 384 frames = 5.12 s."""

from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from statistics import median
from typing import Any

from bark_onnx import Bark, GenerationOptions, Speech, VoicePreset
from bark_onnx.stages.options import PROFILES

TEXT = "Hello, my name is Suno. And, uh, I like pizza. But I also have other interests such as playing tic tac toe."
SEMANTIC_TOKENS = 256


@dataclass(frozen=True)
class Measurement:
    """Medians over repeats of the workload.

    Args:
        voice: the voice's short name; None without a voice.
        seconds: the median by stage; `spread` holds the minimum and the maximum.
        real_time_factor: compute seconds per second of audio.
        profile: `reference` or `fast`, the profile of the generation options.
    """

    voice: str | None
    repeats: int
    audio_seconds: float
    seconds: dict[str, float]
    spread: dict[str, tuple[float, float]]
    real_time_factor: float
    profile: str = "reference"

    def to_json(self) -> dict[str, Any]:
        return asdict(self)


def run_once(bark: Bark, voice: VoicePreset | None, seed: int, profile: str = "reference") -> Speech:
    """Generate the workload once; its length does not depend on the model."""
    return bark.generate(TEXT, voice=voice, options=workload_options(bark, profile), seed=seed)


def workload_options(bark: Bark, profile: str = "reference") -> GenerationOptions:
    """Options that generate exactly `SEMANTIC_TOKENS` semantic tokens: early stops are off."""
    seconds = (SEMANTIC_TOKENS - 0.5) / bark.vocabulary.semantic_rate
    return GenerationOptions(allow_early_stop=False, max_seconds=seconds, **PROFILES[profile])


def short_name(voice_name: str | None) -> str | None:
    """A voice's name in reports: a preset's name or file without folders and suffix."""
    return voice_name and Path(voice_name).stem


def measure(
    bark: Bark, voice_name: str | None, repeats: int, profiles: Sequence[str] = ("reference",)
) -> list[Measurement]:
    """Run the workload `repeats` times after a warm-up; each repeat runs every profile once."""
    voice = bark.preset(voice_name)
    run_once(bark, voice, seed=0)
    speeches: dict[str, list[Speech]] = {profile: [] for profile in profiles}
    for seed in range(1, repeats + 1):
        for profile in profiles:
            speeches[profile].append(run_once(bark, voice, seed, profile))
    return [_measurement(voice_name, profile, own) for profile, own in speeches.items()]


def _measurement(voice_name: str | None, profile: str, speeches: list[Speech]) -> Measurement:
    by_stage = {stage: [speech.timings[stage] for speech in speeches] for stage in speeches[0].timings}
    return Measurement(
        voice=short_name(voice_name),
        repeats=len(speeches),
        audio_seconds=speeches[0].duration,
        seconds={stage: round(median(times), 4) for stage, times in by_stage.items()},
        spread={stage: (round(min(times), 4), round(max(times), 4)) for stage, times in by_stage.items()},
        real_time_factor=round(median(speech.real_time_factor for speech in speeches), 4),
        profile=profile,
    )
