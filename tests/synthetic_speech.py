"""Signals that resemble speech to a level meter: syllables, words, pauses, loud vowels and soft consonants."""

import numpy as np

from bark_onnx.arrays import Waveform

RATE = 8_000  # enough for levels, and quick


def speech(
    seconds: float,
    seed: int = 0,
    dbfs: float = -20.0,
    rate: int = RATE,
    pauses: tuple[float, ...] = (),
    crest: float = 1.0,
) -> Waveform:
    """Make `seconds` of speech without silence at its ends, plus the pauses.

    Args:
        dbfs: RMS of the speech without its pauses.
        pauses: seconds of silence each, spread evenly over the speech.
        crest: exponent of the syllables' envelope. A larger one makes peaks fewer and higher.
    """
    stream = np.random.default_rng(seed)
    parts = [_talk(seconds / (len(pauses) + 1), stream, rate, crest)]
    for pause in pauses:
        parts += [np.zeros(round(pause * rate)), _talk(seconds / (len(pauses) + 1), stream, rate, crest)]
    waveform = np.concatenate(parts)
    loud = waveform[np.abs(waveform) > 0]
    waveform *= 10 ** (dbfs / 20) / np.sqrt(np.mean(loud**2))
    return (waveform + 10 ** (-75 / 20) * stream.standard_normal(len(waveform))).astype(np.float32)


def silence(seconds: float, seed: int = 0, dbfs: float = -75.0, rate: int = RATE) -> Waveform:
    """Make a pause as the codec decodes it: noise far below speech."""
    noise = np.random.default_rng(seed).standard_normal(round(seconds * rate))
    return (10 ** (dbfs / 20) * noise).astype(np.float32)


def _talk(seconds: float, stream: np.random.Generator, rate: int, crest: float) -> np.ndarray:
    """Make vowels (harmonics) and consonants (noise, 5 to 20 dB quieter) of 80 to 250 ms, with short gaps."""
    waveform = np.zeros(round(seconds * rate))
    at = 0
    while at < len(waveform):
        length = min(round(stream.uniform(0.08, 0.25) * rate), len(waveform) - at)
        t = np.arange(length) / rate
        if stream.random() < 0.7:
            pitch = stream.uniform(90, 250)
            burst = sum(np.sin(2 * np.pi * pitch * k * t + stream.uniform(0, 6)) / k for k in range(1, 12))
            burst = burst * 10 ** (stream.uniform(-6, 3) / 20)
        else:
            burst = stream.standard_normal(length) * 10 ** (stream.uniform(-20, -5) / 20)
        window = np.sin(np.pi * (np.arange(length) + 0.5) / length) ** crest
        waveform[at : at + length] = burst * window
        at += length + round(stream.choice([0.0, 0.02, 0.06, 0.12]) * rate)
    return waveform
