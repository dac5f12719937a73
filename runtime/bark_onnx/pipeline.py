"""Bark: text in, waveform out.

    text -> ids -> semantic tokens [S] -> coarse codes [2, T] -> fine codes [8, T] -> waveform [320 T]

Every arrow is a stage, and a stage is one call. Nothing flows back.
"""

import hashlib
import warnings
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from time import perf_counter
from typing import Literal, TypeVar

import numpy as np
from numpy.typing import ArrayLike
from tqdm import tqdm

from .arrays import IntArray, Waveform, check_tokens
from .checks import tuning
from .engine.engine import Engine, SpeechStream
from .engine.job import BatchError, Request
from .engine.speech import Speech
from .engine.stream import StreamOptions
from .errors import BarkError, BarkWarning, DeviceError
from .graphs.decoder import CausalDecoder, KVCache
from .graphs.device import Device
from .graphs.networks import open_causal, open_codec, open_fine, open_networks
from .long.journal import Journal
from .long.narration import History, NarrationOptions, Plan, SpokenPassage, narrate, speakable
from .long.script import parse_script
from .long.splitting import estimate_seconds, passages
from .model.bundle import GPU_PRECISIONS, Bundle, CausalStage
from .model.tokenizer import Tokenizer
from .model.voice import Voice, VoicePreset, open_voice
from .sampling.sampling import draw_seed, random_stream
from .stages.coarse import CoarseSequence, coarse_windows
from .stages.codec import waveform
from .stages.fine import FineSequence, fine_codes
from .stages.options import GenerationOptions
from .stages.semantic import NOTHING_SAID, SemanticSequence, semantic_tokens

T = TypeVar("T")


class Bark:
    """A loaded bundle. Make one with `Bark.load` and keep it; it serves one call at a time.

    Args:
        bundle: an opened bundle.
        device: where its graphs run.
        low_memory: have a network in memory only while its stage runs.
        progress: show a progress bar on standard error where that is a terminal.
    """

    def __init__(self, bundle: Bundle, device: Device, *, low_memory: bool = False, progress: bool = False) -> None:
        self.bundle = bundle
        self.device = replace(device, one_arena=not low_memory)
        self.progress = progress
        self.vocabulary = bundle.manifest.vocabulary
        self.sample_rate = self.vocabulary.sample_rate
        self._tokenizer = Tokenizer(bundle.tokenizer, self.vocabulary)
        self._networks = None if low_memory else open_networks(bundle, self.device)
        self._caches: dict[CausalStage, KVCache] = {}
        self._idle_engines: list[Engine] = []  # of one slot, for streams

    @classmethod
    def load(
        cls,
        bundle: str | Path | None = None,
        *,
        device: str = "auto",
        threads: int | None = None,
        provider_options: Mapping[str, str] | None = None,
        low_memory: bool = False,
        progress: bool = False,
    ) -> "Bark":
        """Load a bundle from its directory.

        Args:
            bundle: what `bark-onnx export` made. None is nano, a small voice for demonstrations that comes with the
                package and is not Suno's Bark.
            device: `auto`, `cpu`, `cuda`, `cuda:1`, `tensorrt`, or another execution provider of ONNX Runtime's by its
                name, such as `openvino`; `auto` is CUDA for a bundle that runs on it, where that loads, else the CPU.
            threads: threads of one graph run on the CPU; None is what `bark-onnx tune` found, or ONNX Runtime's choice.
            provider_options: the execution provider's own options, in ONNX Runtime's words.
            low_memory: load each network when its stage begins, and let go of it afterwards: the memory of one, for the
                time of loading all in every utterance. Streams, batches and long texts need all of them at once.

        Raises BundleError for a bundle that is incomplete or changed, DeviceError for a device that is not to be had.
        """
        opened = Bundle.open(bundle)
        precision, layout = opened.manifest.precision, opened.manifest.kv_layout
        # The static layout's attention has CUDA kernels for 16 bits only, and 8-bit activations are slow to make there.
        for_gpu = precision in GPU_PRECISIONS or (precision == "fp32" and layout == "portable")
        chosen = Device.choose(device, threads, auto_gpu=for_gpu, options=provider_options)
        if chosen.name == "cpu" and threads is None:
            chosen = replace(chosen, tuned=tuning.load(opened))
        if chosen.name == "tensorrt" and layout != "portable":
            raise DeviceError("TensorRT runs standard operators only: export the bundle with --layout portable")
        if chosen.memory == "cuda" and not for_gpu:
            warnings.warn(
                f"an {precision} bundle is for CPUs and runs on a GPU in part and slowly: export with --precision fp16",
                BarkWarning,
                stacklevel=2,
            )
        return cls(opened, chosen, low_memory=low_memory, progress=progress)

    def generate(
        self,
        text: str,
        voice: Voice | None = None,
        options: GenerationOptions | None = None,
        seed: int | None = None,
    ) -> Speech:
        """Speak a text.

        Args:
            text: what to say; at most 256 tokens are read, about 13 seconds are made.
            voice: a name of the bundle's, the path of an `.npz` file, or a VoicePreset; None for a voice by chance.
            options: how to sample; None for the reference's defaults.
            seed: makes the same tokens again; None draws one, which the result tells.
        """
        seed = draw_seed() if seed is None else seed
        voice = self.voice(voice)
        timings: dict[str, float] = {}
        with _timed(timings, "semantic"):
            semantic = self.semantic(text, voice, options, seed)
        with _timed(timings, "coarse"):
            coarse = self.coarse(semantic, voice, options, seed)
        with _timed(timings, "fine"):
            fine = self.fine(coarse, voice, options, seed)
        with _timed(timings, "codec"):
            audio = self.decode(fine)
        return Speech(audio, self.sample_rate, VoicePreset(semantic, coarse, fine), seed, timings)

    def stream(
        self,
        text: str,
        voice: Voice | None = None,
        options: GenerationOptions | None = None,
        seed: int | None = None,
        streaming: StreamOptions | None = None,
    ) -> SpeechStream:
        """Speak a text in chunks, the first of them long before the text is finished.

        Semantic tokens and coarse codes are those of `generate` with the same seed; fine codes may differ, unless
        `streaming` asks for the exact ones.

        Args:
            text, voice, options, seed: as for `generate`.
            streaming: how long the chunks are.
        """
        engine = self._idle_engines.pop() if self._idle_engines else self.engine(slots=1)
        try:
            job = engine.submit(Request(text, voice, seed, options, streaming or StreamOptions()))
        except BarkError:
            self._idle_engines.append(engine)
            raise
        return SpeechStream(engine, job, self._idle_engines)

    def generate_batch(self, requests: Sequence[Request], slots: int = 8) -> list[Speech]:
        """Speak many texts together, each with its own voice, seed and options; the results in the same order.

        Args:
            slots: utterances at a time; each takes memory for its KV caches.

        Raises BatchError, when all the others are done, if one of them fails; it has their results.
        """
        engine = self.engine(max(1, min(slots, len(requests))))
        jobs = [engine.submit(request) for request in requests]
        with tqdm(desc="batch   ", total=len(jobs), leave=False, disable=None if self.progress else True) as bar:
            while engine.step():
                bar.update(sum(job.ended for job in jobs) - bar.n)
        errors = {n: job.error for n, job in enumerate(jobs) if job.error is not None}
        if errors:
            raise BatchError(errors, [job.speech for job in jobs])
        return [job.speech for job in jobs if job.speech is not None]

    def generate_long(
        self,
        text: str,
        voice: Voice | None = None,
        options: GenerationOptions | None = None,
        seed: int | None = None,
        *,
        history: History = "fixed",
        cast: Mapping[str, Voice] | None = None,
        narration: NarrationOptions | None = None,
        journal: str | Path | None = None,
    ) -> Iterator[SpokenPassage]:
        """Speak a text of any length, passage by passage, in flat memory.

        Args:
            text: paragraphs with blank lines between them; with a cast, a script of `SPEAKER: line`.
            voice: who speaks; None for whoever the first passage happens to be.
            options: how to sample.
            seed: makes the same speech again.
            history: what a passage hears before it: always the voice (`fixed`, the default; passages are then spoken in
                batches), the passage before (`rolling`), or both (`hybrid`).
            cast: the voice of each speaker of a script.
            narration: lengths, pauses, guards.
            journal: a directory where finished passages are kept, so that the same call goes on after an interruption,
                with the same result. Remove it at the end with `Journal.remove`, or keep it.

        Each passage tells its time, its seed, and what is wrong with it still.
        """
        narration = narration or NarrationOptions()
        path = None if journal is None else Path(journal)
        if seed is None:
            seed = None if path is None else Journal.seed(path)
        seed = draw_seed() if seed is None else seed
        voices: dict[str | None, VoicePreset | None]
        if cast is None:
            voices = {None: self.voice(voice)}
            parts = passages(text, self._fits(narration.passage_seconds))
        else:
            voices = {speaker: self.voice(own) for speaker, own in cast.items()}
            parts = [
                replace(part, ends_paragraph=part.ends_paragraph and line.ends_paragraph)
                for line in parse_script(text, cast)
                for part in passages(line.text, self._fits(narration.passage_seconds), line.speaker)
            ]
        parts = speakable(parts)
        model = hashlib.sha256(self.bundle.manifest.to_json().encode()).hexdigest()
        plan = Plan(parts, voices, history, seed, options or GenerationOptions(), narration, model)
        kept = None if path is None else Journal(path, plan.fingerprint(), seed)
        engine = self.engine(len(plan.block(0, voiced=True)))
        return self._narrated(narrate(plan, engine, self.vocabulary, kept), plan)

    def _fits(self, seconds: float) -> Callable[[str], bool]:
        """Whether one generation can say a text."""
        window = self.vocabulary.text_window
        return lambda text: estimate_seconds(text) <= seconds and self._tokenizer.count(text) <= window

    def _narrated(self, spoken: Iterable[SpokenPassage], plan: Plan) -> Iterator[SpokenPassage]:
        """The same passages, with a progress bar in seconds of speech, which are what time goes by."""
        expected = [estimate_seconds(passage.text) for passage in plan.passages]
        disable = None if self.progress else True
        with tqdm(desc="speech  ", total=round(sum(expected)), unit="s", leave=False, disable=disable) as bar:
            for seconds, passage in zip(expected, spoken, strict=True):
                bar.update(seconds)
                yield passage

    def engine(self, slots: int = 8) -> Engine:
        """An engine for a server: submit at any time, take tokens and audio as they come, cancel one."""
        networks = self._networks or open_networks(self.bundle, self.device)
        return Engine(networks, self._tokenizer, self.vocabulary, self.voice, slots)

    def semantic(
        self, text: str, voice: Voice | None = None, options: GenerationOptions | None = None, seed: int | None = None
    ) -> IntArray:
        """Text -> semantic tokens [S], 49.9 for a second of speech. S is 0 if the model has nothing to say."""
        options = options or GenerationOptions()
        decoder, cache = self._causal("semantic")
        text_ids, preset, stream = self._tokenizer.encode(text), self.voice(voice), _stream(seed, "semantic")
        sequence = SemanticSequence(text_ids, preset, options, self.vocabulary, decoder.nothing, stream)
        tokens = semantic_tokens(decoder, cache, sequence)
        return np.fromiter(self._shown(tokens, "semantic", sequence.limit), np.int64)

    def coarse(
        self,
        semantic: ArrayLike,
        voice: Voice | None = None,
        options: GenerationOptions | None = None,
        seed: int | None = None,
    ) -> IntArray:
        """Semantic tokens [S] -> coarse codes [2, T], 75 frames for a second."""
        options = options or GenerationOptions()
        if np.size(semantic) == 0:
            raise BarkError(NOTHING_SAID)
        tokens = check_tokens("semantic tokens", semantic, (None,), self.vocabulary.semantic_size)
        preset = self.voice(voice)
        if preset is not None:
            preset.warn_if_uneven(self.vocabulary)
        (decoder, cache), stream = self._causal("coarse"), _stream(seed, "coarse")
        sequence = CoarseSequence(preset, options, self.vocabulary, decoder.size.context, stream)
        sequence.hear(tokens.tolist(), ended=True)
        windows = coarse_windows(decoder, cache, sequence)
        for _ in self._shown(windows, "coarse", -(-sequence.total // options.sliding_window)):
            pass
        return sequence.codes()

    def fine(
        self,
        coarse: ArrayLike,
        voice: Voice | None = None,
        options: GenerationOptions | None = None,
        seed: int | None = None,
    ) -> IntArray:
        """Coarse codes [n, T] of the first n codebooks, usually 2 -> the codes of all [8, T]."""
        options = options or GenerationOptions()
        space = self.vocabulary
        codes = check_tokens("coarse codes", coarse, (range(1, space.fine_codebooks), None), space.codebook_size)
        preset = self.voice(voice)
        sequence = FineSequence(preset, options, space, _stream(seed, "fine"), given=len(codes))
        sequence.hear(codes, ended=True)
        model = self._networks.fine if self._networks else open_fine(self.bundle, self.device)
        *_, result = self._shown(fine_codes(model, sequence), "fine", sequence.window_count)
        return result.copy()

    def decode(self, fine: ArrayLike) -> Waveform:
        """Fine codes [8, T] -> waveform [320 T], float32, mono, full scale at 1."""
        space = self.vocabulary
        codebooks = range(space.fine_codebooks, space.fine_codebooks + 1)
        codes = check_tokens("fine codes", fine, (codebooks, None), space.codebook_size)
        return waveform(self._networks.codec if self._networks else open_codec(self.bundle, self.device), codes)

    def _causal(self, stage: CausalStage) -> tuple[CausalDecoder, KVCache]:
        """A stage's decoder and its KV cache; with low memory they are the caller's alone, and go with it.

        So does any cache on the CPU, whose pages the next stage can use. On a GPU what was bound and recorded with it
        is worth keeping.
        """
        if self._networks is None:
            decoder = open_causal(self.bundle, stage, self.device)
        else:
            decoder = self._networks.semantic if stage == "semantic" else self._networks.coarse
        if self._networks is None or self.device.memory == "cpu":
            return decoder, decoder.new_cache()
        if stage not in self._caches:
            self._caches[stage] = decoder.new_cache()
        return decoder, self._caches[stage]

    def voice(self, voice: Voice | None) -> VoicePreset | None:
        """The preset behind a name or a path, checked against this model. Raises VoiceError."""
        if voice is None:
            return None
        preset = open_voice(voice, self.bundle.voices)
        preset.check(self.vocabulary)
        return preset

    def _shown(self, steps: Iterable[T], stage: str, total: int) -> Iterator[T]:
        """The same steps, with a progress bar if one is wanted and standard error is a terminal."""
        return iter(tqdm(steps, desc=f"{stage:8}", total=total, leave=False, disable=None if self.progress else True))


def _stream(seed: int | None, stage: Literal["semantic", "coarse", "fine"]) -> np.random.Generator:
    return random_stream(draw_seed() if seed is None else seed, stage)


@contextmanager
def _timed(timings: dict[str, float], stage: str) -> Iterator[None]:
    start = perf_counter()
    yield
    timings[stage] = perf_counter() - start
