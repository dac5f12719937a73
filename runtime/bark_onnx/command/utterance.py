"""Speaking a single utterance for `say`: whole, or as a stream while it is made."""

import sys
from dataclasses import replace
from pathlib import Path
from time import perf_counter

from ..audio.files import encode, pcm
from ..engine.speech import Speech
from ..engine.stream import AudioChunk, buffering
from ..pipeline import Bark
from .options import Output, Sampling, Streaming
from .output import held_back, open_output


def say_once(bark: Bark, text: str, output: Output, sampling: Sampling, save_voice: Path | None) -> None:
    """Speak a text, and write the audio when it is complete."""
    start = perf_counter()
    speech = bark.generate(text, voice=sampling.voice, options=sampling.options(), seed=sampling.seed)
    if output.output == "-":
        content = pcm(speech.waveform) if output.raw else encode(speech.waveform, speech.sample_rate)
        sys.stdout.buffer.write(content)
        sys.stdout.buffer.flush()
    else:
        speech.save(str(output.output))
    _finish(speech, output, save_voice, perf_counter() - start)


def say_streamed(
    bark: Bark, text: str, output: Output, sampling: Sampling, streaming: Streaming, save_voice: Path | None
) -> None:
    """Speak a text, and pass on each chunk of audio as soon as it is made."""
    start = perf_counter()
    arrivals: list[float] = []
    times: list[AudioChunk] = []  # without their samples
    stream = bark.stream(
        text,
        voice=sampling.voice,
        options=sampling.options(),
        seed=sampling.seed,
        streaming=streaming.options(),
    )
    with open_output(output, bark.sample_rate) as write, stream:
        buffered, flush = held_back(write, streaming.buffer)
        for chunk in stream:
            arrivals.append(perf_counter() - start)
            times.append(replace(chunk, waveform=chunk.waveform[:0]))
            buffered(chunk.waveform)
        flush()
    speech = stream.speech
    assert speech is not None  # or the stream would have raised
    wait = buffering(times, arrivals)
    advice = f"--buffer {wait:.1f} plays it without a gap" if wait > 0.05 else "no gap, even without --buffer"
    output.tell(f"first audio after {arrivals[0]:.2f} s; {advice}")
    _finish(speech, output, save_voice, perf_counter() - start)


def _finish(speech: Speech, output: Output, save_voice: Path | None, seconds: float) -> None:
    if save_voice is not None:
        speech.tokens.save(save_voice)
    output.summarize(speech.duration, seconds, speech.seed)
