"""A queue of spoken messages for a voice channel, as on Discord: many users write, one message is heard at a time.

    python examples/voice_queue.py

Each user has a voice. A message is prepared while others are heard. Here the channel is a WAV file. A bot gives what
`audio` yields to its voice client, in packets of 20 ms (3840 bytes), and calls `say`, `skip` and `stop` for commands.
"""

import asyncio
import wave
from collections.abc import AsyncIterator
from zlib import crc32

import numpy as np

from bark_onnx import Bark, BarkError, QueueFull, SpeechStream, Worker
from bark_onnx.audio.encoder import StreamEncoder

RATE = 48_000  # what Discord plays: 48 kHz, stereo, 16 bits


class VoiceQueue:
    """Messages that are spoken in order. Use it in one event loop."""

    def __init__(self, bark: Bark, worker: Worker, most_waiting: int = 20) -> None:
        self._bark, self._worker = bark, worker
        self._voices = bark.voices or (None,)
        self._waiting: asyncio.Queue[SpeechStream] = asyncio.Queue(most_waiting)
        self._heard: SpeechStream | None = None

    def say(self, user: str, text: str) -> None:
        """Add a message. Raises QueueFull if too many wait, and BarkError for a text without words."""
        if self._waiting.full():
            raise QueueFull(f"{self._waiting.qsize()} messages are waiting: try again later")
        voice = self._voices[crc32(user.encode()) % len(self._voices)]  # always the same for a user
        self._waiting.put_nowait(self._bark.stream(text, voice=voice, worker=self._worker))

    def skip(self) -> None:
        """End the message that is heard."""
        if self._heard is not None:
            self._heard.close()

    def stop(self) -> None:
        """End the message that is heard, and drop those that wait."""
        while not self._waiting.empty():
            self._waiting.get_nowait().close()
            self._waiting.task_done()
        self.skip()

    async def audio(self) -> AsyncIterator[bytes]:
        """Yield the samples of all messages while they are generated; wait for the next message, for ever."""
        while True:
            self._heard = await self._waiting.get()
            try:
                with self._heard as stream, StreamEncoder("pcm", self._bark.sample_rate, RATE) as encoder:
                    async for chunk in stream:
                        yield stereo(encoder.push(chunk.waveform))
                    yield stereo(encoder.finish())
            except BarkError as error:
                print(f"a message could not be spoken: {error}")
            finally:
                self._heard = None
                self._waiting.task_done()

    async def join(self) -> None:
        """Wait until no message is left."""
        await self._waiting.join()


def stereo(samples: bytes) -> bytes:
    """Give each 16-bit sample to both channels."""
    return np.frombuffer(samples, "<i2").repeat(2).tobytes()


async def play(queue: VoiceQueue, channel: wave.Wave_write) -> None:
    channel.setparams((2, 2, RATE, 0, "NONE", ""))
    async for samples in queue.audio():
        channel.writeframes(samples)


async def main() -> None:
    with Bark.load() as bark, bark.worker(slots=4) as worker, wave.open("channel.wav", "wb") as channel:
        queue = VoiceQueue(bark, worker)
        queue.say("ada", "Good morning.")
        queue.say("carol", "Good morning, Ada.")
        player = asyncio.create_task(play(queue, channel))
        await queue.join()
        player.cancel()


if __name__ == "__main__":
    asyncio.run(main())
