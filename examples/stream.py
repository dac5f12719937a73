"""Give audio to a player while it is generated. Here the player is a WAV file; put your sound card in its place.

python examples/stream.py
"""

import wave

import numpy as np

from bark_onnx import AudioChunk, Bark

bark = Bark.load()


def play(chunk: AudioChunk, player: wave.Wave_write) -> None:
    """Send a chunk of float samples to a device that expects 16-bit samples."""
    samples = (chunk.waveform.clip(-1, 1) * 32767).astype("<i2")
    player.writeframes(samples.tobytes())
    print(f"{chunk.start:.2f} s: {chunk.duration:.2f} s of audio, peak {np.abs(chunk.waveform).max():.2f}")


with (
    wave.open("stream.wav", "wb") as player,
    bark.stream("Sound comes before the end.", voice="en_male", seed=7) as stream,
):
    player.setnchannels(1)
    player.setsampwidth(2)
    player.setframerate(bark.sample_rate)
    for chunk in stream:
        play(chunk, player)
