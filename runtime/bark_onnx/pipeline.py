"""Bark: text in, waveform out.

    text -> ids -> semantic tokens [S] -> coarse codes [2, T] -> fine codes [8, T] -> waveform [320 T]

Each arrow is a stage, and a stage is one call. Data flows one way.

`generate` calls the stages one after another. Streams, batches, long texts and workers give their requests to an
`Engine`, which runs the same stages of many utterances step by step. A text that does not fit in one utterance is split
into passages.
"""

from collections.abc import AsyncIterable, Iterable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import replace
from functools import partial
from pathlib import Path
from time import perf_counter
from typing import NoReturn
from weakref import finalize

import numpy as np
from numpy.typing import ArrayLike

from .arrays import IntArray, Waveform, check_tokens
from .engine.engine import Engine
from .engine.idle import IdleWorkers
from .engine.job import BatchError, Job, Request
from .engine.speech import Speech
from .engine.stream import StreamOptions
from .engine.worker import Worker
from .errors import BarkError, DeviceError, NothingSaid, or_default, warn
from .graphs.cache import KVCache
from .graphs.device import Device
from .graphs.networks import Networks
from .long.attempts import Outcome
from .long.feeding import feed_from_thread
from .long.journal import Journal
from .long.narration import LongSpeech, SpokenPassage, Steps, narrate, narration_steps, speak_checked, speak_together
from .long.narrator import Narrator
from .long.plan import History, NarrationOptions, Plan
from .long.planner import Planner, checked_seed
from .long.speech_stream import SpeechStream
from .model.bundle import Bundle
from .model.tokenizer import Tokenizer, require_something_to_say
from .model.vocabulary import CausalStage
from .model.voice import Voice, VoicePreset
from .normalizing.choice import AUTO, chosen_normalizer, for_single
from .numbers import whole
from .progress import ProgressOption, counted, shown
from .sampling.distribution import random_stream
from .sampling.loops import Loops
from .stages.coarse import CoarseSequence, coarse_windows
from .stages.fine import FineSequence, fine_codes
from .stages.options import GenerationOptions
from .stages.semantic import SemanticSequence, semantic_tokens, token_limit


class Bark:
    """A loaded bundle. Make one with `Bark.load`, keep it, and `close` it or use it in a `with` statement.

    Threads: a Bark may be called from several threads. Calls wait for each other, and each gets the tokens that it gets
    alone. A `worker` serves several callers together.

    Args:
        bundle: an opened bundle.
        device: where its graphs run.
        low_memory: keep a network in memory only while its stage runs.
        progress: True shows a progress bar on standard error where that is a terminal; a function gets each `Progress`.
    """

    def __init__(
        self, bundle: Bundle, device: Device, *, low_memory: bool = False, progress: ProgressOption = False
    ) -> None:
        self.bundle = bundle
        self._networks = Networks(bundle, device, low_memory=low_memory)
        self._loops = Loops(self._networks)
        self.device = self._networks.device
        self.progress = progress
        self.vocabulary = bundle.manifest.vocabulary
        self.sample_rate = self.vocabulary.sample_rate
        self._tokenizer = Tokenizer(bundle.tokenizer, self.vocabulary)
        self._caches: dict[CausalStage, KVCache] = {}  # of one row, kept on GPUs only: see `_cache`
        self._planner = Planner(bundle, self._tokenizer)
        self._idle_workers = IdleWorkers(keep=not low_memory)
        # The thread of an idle worker keeps the networks in memory. Nothing of a worker refers to its Bark.
        finalize(self, self._idle_workers.close, wait=False).atexit = False
        if not low_memory:
            self._networks.load()

    @classmethod
    def load(
        cls,
        bundle: str | Path | Bundle | None = None,
        *,
        device: str = "auto",
        threads: int | None = None,
        provider_options: Mapping[str, str] | None = None,
        low_memory: bool = False,
        progress: ProgressOption = False,
    ) -> "Bark":
        """Load a bundle from its directory or from the Hugging Face hub.

        Args:
            bundle: the directory that `bark-onnx export` made, `org/name` or `org/name@revision` on the hub (extra
                `hub`), or a Bundle that is open. None loads nano, a small voice for demonstrations that comes with the
                package and is not Suno's Bark.
            device: `auto`, `cpu`, `cuda`, `cuda:1`, `tensorrt`, or another execution provider of ONNX Runtime by its
                name, such as `openvino`. `auto` is CUDA if that starts and the bundle was exported for GPUs, else the
                CPU.
            threads: threads of one graph run on the CPU; None is OMP_NUM_THREADS, else one for each core that this
                process may use.
            provider_options: options of the execution provider, as ONNX Runtime names them.
            low_memory: load each network when its stage begins and drop it afterwards. The memory is that of one
                network; the time to load all of them is added to every utterance. Streams, batches and long texts need
                all of them at once, for as long as they run.
            progress: see `Bark`. True also shows a bar while a bundle is downloaded.

        Raises:
            BundleError: the bundle is incomplete or changed.
            HubError: the hub does not have it, or cannot be read.
            DeviceError: the device does not exist or does not start.
            OutOfMemory: there is not enough memory for the networks.
        """
        opened = bundle if isinstance(bundle, Bundle) else Bundle.open(bundle, progress=progress is True)
        precision, layout, for_gpu = opened.manifest.precision, opened.manifest.kv_layout, opened.manifest.for_gpu
        chosen = Device.choose(device, threads, auto_gpu=for_gpu, options=provider_options)
        if chosen.name == "tensorrt" and layout != "portable":
            raise DeviceError("TensorRT runs standard operators only: export the bundle with --layout portable")
        if chosen.memory == "cuda" and not for_gpu and precision != "fp32":  # which does not load
            warn(f"a bundle in {precision} is for CPUs: on a GPU it runs in part and slowly; export one in fp16")
        return cls(opened, chosen, low_memory=low_memory, progress=progress)

    # text -> speech

    def generate(
        self,
        text: str,
        *,
        voice: Voice | None = None,
        options: GenerationOptions | None = None,
        seed: int | None = None,
        single: bool = False,
        narration: NarrationOptions | None = None,
        normalize: str = AUTO,
    ) -> Speech:
        """Speak a text of any length.

        What fits in one utterance, at most about 13 seconds, is one utterance. A longer text is split into passages,
        and the result is a `LongSpeech`, which has them.

        Args:
            text: what to say.
            voice: the name of a voice in the bundle, the path of an `.npz` file, or a VoicePreset; None: the model
                chooses one.
            options: how to sample; None takes the reference's defaults.
            seed: the same seed gives the same tokens; None draws one, which is in the result.
            single: speak one utterance, as the reference does: at most 256 tokens of the text are read, with a warning,
                and at most about 15 seconds are generated.
            narration: how a longer text is spoken. If it is given, its guards also check a text that is one utterance,
                and a faulty one is spoken again; the result then is a `LongSpeech` with one passage.
            normalize: read numbers, dates, symbols and the like as words: a language such as `en`; `auto` takes the
                one that the voice's name begins with, if the extra `text` is installed and `single` is not given;
                `off` speaks the text as it is written.
        """
        options, seed = or_default("options", options, GenerationOptions), checked_seed(seed)
        checked = None if single or narration is None else or_default("narration", narration, NarrationOptions)
        normalize = for_single(normalize) if single else normalize
        words = self.words(text, voice=voice, normalize=normalize)
        if not single and not self.fits(words, (checked or NarrationOptions()).passage_seconds):
            spoken = self.generate_long(
                text, voice=voice, options=options, seed=seed, narration=checked, normalize=normalize
            )
            return LongSpeech.join([*spoken], seed)
        if checked is not None:
            return self._checked(text, voice, options, seed, checked, normalize)
        text_ids, preset = self._tokenizer.encode(words), self.preset(voice)
        timings: dict[str, float] = {}
        with self._networks.lock:
            with _timed(timings, "semantic"):
                semantic = self._semantic(text_ids, preset, options, seed)
            with _timed(timings, "coarse"):
                coarse = self._coarse(semantic, preset, options, seed)
            with _timed(timings, "fine"):
                fine = self._fine(coarse, preset, options, seed)
            with _timed(timings, "codec"):
                audio = self._decode(fine)
        return Speech(audio, self.sample_rate, VoicePreset(semantic, coarse, fine), seed, timings)

    def _checked(
        self,
        text: str,
        voice: Voice | None,
        options: GenerationOptions,
        seed: int,
        narration: NarrationOptions,
        normalize: str,
    ) -> LongSpeech:
        """Speak one utterance, and again if it has problems."""
        plan, _ = self._planner.plan(
            text, voice=voice, options=options, seed=seed, narration=narration, single=True, normalize=normalize
        )
        limit = token_limit(options.max_seconds, self.vocabulary)
        record = speak_checked(self._planner.context(plan), partial(self._outcome, limit=limit))
        return LongSpeech.single(plan.passages[0], record, self.sample_rate, seed)

    def _outcome(self, request: Request, limit: int) -> Outcome:
        """Speak one utterance for `_checked`."""
        try:
            speech = self.generate(
                request.text, voice=request.voice, options=request.options, seed=request.seed, single=True
            )
        except NothingSaid:
            return Outcome(request, None, limit, {})
        return Outcome(request, speech, limit, speech.timings)

    def stream(
        self,
        text: str | Iterable[str] | AsyncIterable[str],
        *,
        voice: Voice | None = None,
        options: GenerationOptions | None = None,
        seed: int | None = None,
        streaming: StreamOptions | None = None,
        single: bool = False,
        history: History = "fixed",
        cast: Mapping[str, Voice] | None = None,
        narration: NarrationOptions | None = None,
        journal: str | Path | None = None,
        worker: Worker | None = None,
        normalize: str = AUTO,
    ) -> SpeechStream:
        """Speak a text of any length in chunks, the first of them long before the text is finished.

        Semantic tokens and coarse codes are those of `generate` with the same seed. Fine codes may differ, unless
        `streaming` asks for exact ones.

        Args:
            text: a string; or an iterator or asynchronous iterator of strings, which are parts of a text that still
                comes, such as a language model writes it. Each sentence is then spoken when it is complete. An
                asynchronous iterator is read while the stream is iterated with `async for`.
            voice, options, seed, single, normalize: as for `generate`.
            streaming: how long the chunks are.
            narration: how a longer text is spoken. If it is given, a text that is one utterance is spoken again too if
                the model says nothing; with exact streaming it comes when it is complete, and all guards check it.
            history, cast, journal, worker: as for `generate_long`.
        """
        streaming = or_default("streaming", streaming, StreamOptions)
        checked, narration = narration is not None, or_default("narration", narration, NarrationOptions)
        if isinstance(text, bytes) or not isinstance(text, str | Iterable | AsyncIterable):
            require_something_to_say(text)  # raises the error
        growing = not isinstance(text, str)
        if growing and (single or cast is not None or journal is not None):
            raise BarkError("a text that comes piece by piece can have neither single, nor a cast, nor a journal")
        complete = text if isinstance(text, str) else ""
        normalize = for_single(normalize) if single else normalize
        normalizer = chosen_normalizer(normalize, voice)
        if not growing and cast is None:
            words = self.words(complete, voice=voice, normalize=normalize)
            single = single or self.fits(words, narration.passage_seconds)
        if single and not checked:
            narration = replace(narration, guards=replace(narration.guards, retries=0))
        plan, kept = self._planner.plan(
            complete, growing=growing, voice=voice, options=options, seed=seed, history=history, cast=cast,
            narration=narration, journal=journal, streaming=streaming, single=single, normalize=normalize,
        )  # fmt: skip
        own = _check_worker(worker) or self._idle_workers.take(partial(self.worker, slots=1))
        release = _nothing if own is worker else partial(self._idle_workers.give_back, own)
        try:
            narrator = Narrator(self._planner.context(plan), own, kept, streaming, complete=not growing)
        except BaseException:
            release()
            raise
        if isinstance(text, str):
            return SpeechStream(narrator, self.sample_rate, release)
        feed = self._planner.feed(narrator, normalizer)
        if isinstance(text, AsyncIterable):
            return SpeechStream(narrator, self.sample_rate, release, feed, text)
        feed_from_thread(text, feed)
        return SpeechStream(narrator, self.sample_rate, release, feed)

    def generate_batch(self, requests: Iterable[Request], *, slots: int = 8) -> list[Speech]:
        """Speak many texts together, each with its own voice, seed and options; return the results in the same order.

        Each is one utterance, spoken as it is written; `words` writes numbers out.

        Args:
            slots: utterances at a time; each takes memory for its KV caches.

        Raises:
            BatchError: some requests failed, or were refused; the others have been generated, and the error holds their
                results.
        """
        if isinstance(requests, str | Request) or not isinstance(requests, Iterable):
            raise BarkError(f"requests must be a list of Request, not {type(requests).__name__}")
        requests = list(requests)
        engine = self.engine(slots=max(1, min(whole("slots", slots), len(requests))))
        jobs: dict[int, Job] = {}
        errors: dict[int, BaseException] = {}
        for index, request in enumerate(requests):
            try:
                jobs[index] = engine.submit(request)
            except BarkError as error:
                errors[index] = error
        with counted("batch", len(requests), self.progress) as count:
            engine.work([*jobs.values()], lambda working: count(sum(job.ended for job in working)))
        errors |= {index: job.error for index, job in jobs.items() if job.error is not None}
        speeches = [jobs[index].speech if index in jobs else None for index in range(len(requests))]
        if errors:
            raise BatchError(errors, speeches)
        return [speech for speech in speeches if speech is not None]

    def generate_long(
        self,
        text: str,
        *,
        voice: Voice | None = None,
        options: GenerationOptions | None = None,
        seed: int | None = None,
        history: History = "fixed",
        cast: Mapping[str, Voice] | None = None,
        narration: NarrationOptions | None = None,
        journal: str | Path | None = None,
        worker: Worker | None = None,
        normalize: str = AUTO,
    ) -> Iterator[SpokenPassage]:
        """Speak a text of any length, passage by passage. Memory use does not grow with its length.

        Args:
            text: paragraphs with blank lines between them; with a cast, a script of `SPEAKER: line`.
            voice: who speaks; None takes the voice that the first passage happens to get.
            options: how to sample.
            seed: the same seed gives the same speech.
            history: what conditions a passage: the voice (`fixed`; passages are then spoken in batches), the passage
                before (`rolling`), or both (`hybrid`).
            cast: the voice of each speaker of a script.
            narration: how long passages are, the pauses between them, and when one is spoken again.
            journal: a directory that keeps finished passages, so that the same call continues after an interruption,
                with the same result. Remove it at the end with `Journal.remove`, or keep it.
            worker: speak on the engine of this worker, beside its other requests; None uses an engine of its own.
            normalize: as for `generate`; `auto` takes the language of each speaker's voice.
        """
        _check_worker(worker)
        plan, kept = self._planner.plan(
            text, voice=voice, options=options, seed=seed, history=history, cast=cast, narration=narration,
            journal=journal, normalize=normalize,
        )  # fmt: skip
        runner = worker or self.engine(slots=len(plan.block(0, voiced=True)))  # a slot for each passage of a block
        return self._narrated(plan, runner, kept)

    def _narrated(self, plan: Plan, runner: Engine | Worker, kept: Journal | None) -> Iterator[SpokenPassage]:
        """Speak a plan, and report progress in seconds of speech."""
        with counted("speech", plan.expected_seconds, self.progress) as count:
            yield from narrate(self._planner.context(plan), runner, kept, count)

    def steps(
        self,
        text: str,
        *,
        voice: Voice | None = None,
        options: GenerationOptions | None = None,
        seed: int | None = None,
        narration: NarrationOptions | None = None,
        normalize: str = AUTO,
    ) -> Steps[Speech]:
        """Speak a text as `generate` does, for a caller that runs the requests of many texts on one engine.

        The generator yields a list of requests, is sent their jobs when all of them have ended, and goes on so until it
        returns the speech. It gives no warnings; `unknown_words` tells what is not spoken.

        Args:
            text, voice, options, seed, narration, normalize: as for `generate`.

        Raises BarkError when it begins, for wrong arguments, and when it is sent a job that failed.
        """
        options, seed = or_default("options", options, GenerationOptions), checked_seed(seed)
        checked = None if narration is None else or_default("narration", narration, NarrationOptions)
        words = self.words(text, voice=voice, normalize=normalize)
        plans = partial(
            self._planner.plan, text, voice=voice, options=options, seed=seed, warns=False, normalize=normalize
        )
        if not self.fits(words, (checked or NarrationOptions()).passage_seconds):
            plan, _ = plans(narration=checked)
            spoken = yield from narration_steps(self._planner.context(plan))
            return LongSpeech.join(spoken, seed)
        if checked is None:
            (job,) = yield [Request(words, voice=voice, options=options, seed=seed)]
            return job.result()
        plan, _ = plans(narration=checked, single=True)
        (record,) = yield from speak_together([self._planner.context(plan).attempts(0)])
        return LongSpeech.single(plan.passages[0], record, self.sample_rate, seed)

    def words(self, text: str, *, voice: Voice | None = None, normalize: str = AUTO) -> str:
        """The words that `generate` says for a text: numbers, dates, symbols and the like are written out.

        Args:
            text, voice, normalize: as for `generate`.
        """
        normalizer = chosen_normalizer(normalize, voice)
        words = text if normalizer is None or not isinstance(text, str) else normalizer(text)
        require_something_to_say(words)
        return words

    def unknown_words(self, text: str) -> list[str]:
        """The words and symbols of a text that the model's vocabulary lacks, and which are not spoken."""
        require_something_to_say(text)
        return self._tokenizer.read(text).lost

    def fits(self, text: str, seconds: float = NarrationOptions.passage_seconds) -> bool:
        """Whether one utterance of at most so many seconds, by estimate, can say a text."""
        return self._planner.fits(text, seconds)

    # many callers

    def engine(self, *, slots: int = 8) -> Engine:
        """An engine without a thread: it works while you call `Engine.step`. Submit and cancel requests at any time."""
        self._networks.check_open()
        # With low memory the engine has networks of its own, which are dropped together with it.
        loops = Loops(Networks(self.bundle, self.device)) if self._networks.low_memory else self._loops
        return Engine(loops, self._tokenizer, self._planner.preset, slots)

    def worker(self, *, slots: int = 8, max_waiting: int = 64) -> Worker:
        """An engine on a thread of its own, for callers in several threads and in asyncio.

        Args:
            slots: utterances at a time.
            max_waiting: requests that may wait for a slot; more are refused.
        """
        return Worker(self.engine(slots=slots), max_waiting=max_waiting)

    # the stages, one call each: each checks its arguments, then calls the same private method as `generate`

    def semantic(
        self,
        text: str,
        *,
        voice: Voice | None = None,
        options: GenerationOptions | None = None,
        seed: int | None = None,
    ) -> IntArray:
        """Text -> semantic tokens [S], 49.9 for a second of speech. S is 0 if the model has nothing to say."""
        text_ids = self._tokenizer.encode(text)
        options = or_default("options", options, GenerationOptions)
        return self._semantic(text_ids, self.preset(voice), options, checked_seed(seed))

    def coarse(
        self,
        semantic: ArrayLike,
        *,
        voice: Voice | None = None,
        options: GenerationOptions | None = None,
        seed: int | None = None,
    ) -> IntArray:
        """Semantic tokens [S] -> coarse codes [2, T], 75 frames for a second. Raises NothingSaid if S is 0."""
        if np.size(semantic) == 0:
            raise NothingSaid
        tokens = check_tokens("semantic tokens", semantic, (None,), self.vocabulary.semantic_size)
        options = or_default("options", options, GenerationOptions)
        return self._coarse(tokens, self.preset(voice), options, checked_seed(seed))

    def fine(
        self,
        coarse: ArrayLike,
        *,
        voice: Voice | None = None,
        options: GenerationOptions | None = None,
        seed: int | None = None,
    ) -> IntArray:
        """Coarse codes [n, T] of the first n codebooks, usually 2 -> the codes of all codebooks [8, T]."""
        books = range(1, self.vocabulary.fine_codebooks)
        codes = check_tokens("coarse codes", coarse, (books, None), self.vocabulary.codebook_size)
        options = or_default("options", options, GenerationOptions)
        return self._fine(codes, self.preset(voice), options, checked_seed(seed))

    def decode(self, fine: ArrayLike) -> Waveform:
        """Fine codes [8, T] -> waveform [320 T], float32, mono, full scale at 1."""
        books = self.vocabulary.fine_codebooks
        codes = check_tokens("fine codes", fine, (range(books, books + 1), None), self.vocabulary.codebook_size)
        return self._decode(codes)

    def _semantic(
        self, text_ids: IntArray, voice: VoicePreset | None, options: GenerationOptions, seed: int
    ) -> IntArray:
        with self._working() as loops:
            stream, no_history_id = random_stream(seed, "semantic"), self._networks.sizes.semantic.no_history_id
            sequence = SemanticSequence(text_ids, voice, options, self.vocabulary, no_history_id, stream)
            steps = semantic_tokens(loops.semantic, self._cache("semantic"), sequence)
            tokens: IntArray = np.fromiter(shown(steps, "semantic", sequence.limit, self.progress), np.int64)
            return tokens

    def _coarse(self, semantic: IntArray, voice: VoicePreset | None, options: GenerationOptions, seed: int) -> IntArray:
        if voice is not None:
            voice.warn_if_uneven(self.vocabulary)
        with self._working() as loops:
            stream, context = random_stream(seed, "coarse"), self._networks.sizes.coarse.context
            sequence = CoarseSequence(voice, options, self.vocabulary, context, stream)
            sequence.feed(semantic.tolist(), ended=True)
            if not sequence.total:
                raise NothingSaid
            windows = coarse_windows(loops.coarse, self._cache("coarse"), sequence)
            for _ in shown(windows, "coarse", -(-sequence.total // options.sliding_window), self.progress):
                pass
            return sequence.codes()

    def _fine(self, coarse: IntArray, voice: VoicePreset | None, options: GenerationOptions, seed: int) -> IntArray:
        with self._working() as loops:
            sequence = FineSequence(voice, options, self.vocabulary, random_stream(seed, "fine"), given=len(coarse))
            sequence.feed(coarse, ended=True)
            *_, codes = shown(fine_codes(loops.fine, sequence), "fine", sequence.window_count, self.progress)
            return codes.copy()

    def _decode(self, fine: IntArray) -> Waveform:
        with self._working():
            return self._networks.codec.decode(fine)

    @contextmanager
    def _working(self) -> Iterator[Loops]:
        """The loops of a stage. Other threads wait; with low memory the stage's network is dropped afterwards."""
        with self._networks.lock:
            self._networks.check_open()
            try:
                yield self._loops
            finally:
                self._networks.release()

    def _cache(self, stage: CausalStage) -> KVCache:
        """A KV cache of one row.

        On the CPU it is a new one each time, so that the next stage can use its memory. On a GPU it is kept, with its
        bindings and recordings.
        """
        if self._networks.low_memory or self.device.memory == "cpu":
            return self._loops.causal(stage).new_cache()
        if stage not in self._caches:
            self._caches[stage] = self._loops.causal(stage).new_cache()
        return self._caches[stage]

    # voices, scripts, closing

    @property
    def voices(self) -> tuple[str, ...]:
        """The names of the bundle's voices."""
        return tuple(self.bundle.voices)

    @property
    def scripts(self) -> tuple[str, ...]:
        """The scripts that the model's vocabulary covers, such as Latin; the one with most letters first."""
        return self._tokenizer.scripts

    def preset(self, voice: Voice | None) -> VoicePreset | None:
        """The VoicePreset of a name or a path, checked against this model. Raises VoiceError."""
        return self._planner.preset(voice)

    def close(self) -> None:
        """Free the networks and their memory. Engines and workers of this Bark must not be used afterwards."""
        with self._networks.lock:
            self._caches.clear()
            self._networks.close()
        self._idle_workers.close()

    def __enter__(self) -> "Bark":
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def __repr__(self) -> str:
        manifest = self.bundle.manifest
        closed = ", closed" if self._networks.closed else ""
        return f"<Bark {manifest.model}, {manifest.precision} on {self.device.name}, {len(self.voices)} voices{closed}>"

    def __reduce__(self) -> NoReturn:
        raise TypeError("a Bark cannot be pickled: send the bundle's path, and call Bark.load in the other process")


def _check_worker(worker: Worker | None) -> Worker | None:
    if worker is not None and not isinstance(worker, Worker):
        raise BarkError(f"worker must be a Worker, not {type(worker).__name__}: make one with Bark.worker")
    return worker


def _nothing() -> None:
    """What a stream releases at its end if the worker is its caller's."""


@contextmanager
def _timed(timings: dict[str, float], stage: str) -> Iterator[None]:
    start = perf_counter()
    yield
    timings[stage] = perf_counter() - start
