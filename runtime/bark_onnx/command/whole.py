"""Speaking a text for `say` without streaming: one utterance, or passages with a journal that can be resumed."""

import sys
from pathlib import Path
from time import perf_counter

from ..long.journal import Journal
from ..long.spoken import LongSpeech
from ..pipeline import Bark
from ..sampling.distribution import draw_seed
from ..subtitles.formats import at_speed
from ..subtitles.timing import phrase_cues, stretches
from .options import LongText, Output, Sampling
from .output import open_output
from .passages import PassageLog, resumable, write_subtitles


def say_utterance(
    bark: Bark, text: str, output: Output, sampling: Sampling, long_text: LongText, save_voice: Path | None
) -> None:
    """Speak a text as one utterance, and write the audio when it is complete.

    It is checked, and spoken again if it is faulty, unless it is to end early (--max-seconds) or to be as the reference
    speaks it (--single).
    """
    start, log = perf_counter(), PassageLog(output)
    unchecked = long_text.single or sampling.max_seconds is not None
    narration = None if unchecked else long_text.options()
    speech = bark.generate(
        text,
        voice=sampling.voice,
        options=sampling.options(),
        seed=sampling.seed,
        single=long_text.single,
        narration=narration,
        normalize=sampling.normalize,
    )
    if output.output == "-":
        audio_format = "pcm" if output.raw else "wav"
        content = speech.encode(audio_format, sample_rate=output.sample_rate, speed=output.speed)
        sys.stdout.buffer.write(content)
        sys.stdout.buffer.flush()
    else:
        speech.save(str(output.output), sample_rate=output.sample_rate, speed=output.speed)
    if isinstance(speech, LongSpeech):
        log.add(speech.passages[0])
    cues = phrase_cues(text, stretches(speech.waveform, speech.sample_rate), 0.0)
    write_subtitles(long_text.subtitles, at_speed(cues, output.speed))
    if save_voice is not None:
        speech.tokens.save(save_voice)
    output.summarize(speech.duration, perf_counter() - start, speech.seed)


def say_passages(
    bark: Bark, text: str, output: Output, sampling: Sampling, long_text: LongText, save_voice: Path | None
) -> None:
    """Speak a text passage by passage, and write the audio of each as soon as it is made."""
    start, log, voice = perf_counter(), PassageLog(output, output.journal, shows=bool(long_text.cast)), None
    seed = sampling.seed
    if seed is None:
        seed = (None if output.journal is None else Journal.seed(output.journal)) or draw_seed()
    passages = bark.generate_long(
        text,
        voice=sampling.voice,
        options=sampling.options(),
        seed=seed,
        history=long_text.history or "fixed",
        cast=long_text.voices(),
        narration=long_text.options(),
        journal=output.journal,
        normalize=sampling.normalize,
    )
    with resumable(output, log), open_output(output, bark.sample_rate) as write:
        for passage in passages:
            write(passage.waveform)
            log.add(passage)
            voice = voice or passage.tokens
    log.finish(long_text.subtitles)
    if save_voice is not None and voice is not None:
        voice.save(save_voice)
    output.summarize(log.seconds, perf_counter() - start, seed, log.resumed_seconds)
