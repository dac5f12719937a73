"""A player that starts with the first bytes of a stream and plays them at the sample rate."""

SAMPLE_RATE = 24_000  # of OpenAI's response_format pcm: 16 bits, mono
BYTES_PER_SECOND = 2 * SAMPLE_RATE
LEAST_GAP = 0.01  # seconds; the buffer of any sound card covers a shorter gap


class Player:
    """Counts the gaps in the playback of one stream.

    Args (all times are in seconds of one clock):
        audio: seconds of audio so far.
        underruns: gaps so far, of more than LEAST_GAP.
        silence: seconds of these gaps together. A player that waits so long after the first bytes has no gap.
        ends: when the audio so far has been played.
    """

    def __init__(self) -> None:
        self.audio = 0.0
        self.underruns = 0
        self.silence = 0.0
        self.ends: float | None = None

    def receive(self, count: int, now: float) -> None:
        """Take `count` bytes that have come now."""
        ends = now if self.ends is None else self.ends
        if now - ends > LEAST_GAP:
            self.underruns += 1
            self.silence += now - ends
        seconds = count / BYTES_PER_SECOND
        self.audio += seconds
        self.ends = max(now, ends) + seconds
