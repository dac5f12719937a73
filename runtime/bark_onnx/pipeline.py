"""Bark: text in, waveform out.

    text -> ids -> semantic tokens [S] -> coarse codes [2, T] -> fine codes [8, T] -> waveform [320 T]

Each arrow is a stage, and a stage is one call. Data flows one way.

Every call first makes a plan of its text: the words, with voices, options and seed. A text that does not fit in one
utterance is split into passages. For one utterance, `generate` calls the stages one after another, in `Bark._speak`.
Streams, batches, long texts and workers give their requests to an `Engine`, which runs the same stages of many
utterances step by step.
"""

from collections.abc import AsyncIterable, Iterable, Iterator, Mapping
from functools import partial
from pathlib import Path
from typing import NoReturn
from weakref import finalize

from numpy.typing import ArrayLike

from .arrays import IntArray, Waveform
from .engine.batch import checked_requests, speak_batch
from .engine.engine import Engine
from .engine.idle import IdleWorkers
from .engine.job import Request
from .engine.speech import Speech
from .engine.stream import StreamOptions
from .engine.worker import Worker, checked_worker
from .errors import or_default
from .graphs.device import Device
from .graphs.networks import Networks, choose_device
from .long.feeding import complete_text
from .long.journal import Journal
from .long.narration import Steps, narrate, speak_checked, speech_steps
from .long.narrator import Narrator
from .long.plan import History, NarrationOptions, Plan
from .long.planner import Planner, checked_seed
from .long.speech_stream import SpeechStream
from .long.spoken import LongSpeech, SpokenPassage
from .model.bundle import Bundle
from .model.tokenizer import Tokenizer, require_something_to_say
from .model.voice import Voice, VoicePreset
from .normalizing.choice import AUTO
from .numbers import whole
from .progress import ProgressOption
from .sampling.loops import Loops
from .stages.options import GenerationOptions
from .stages.utterance import Utterance


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
                name, or `NAME=PATH` with the path of its library. `auto` is CUDA if that starts and the bundle was
                exported for GPUs, else the CPU.
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
        chosen = choose_device(opened, device, threads, provider_options)
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
        plan, _ = self._planner.plan(
            text, voice=voice, options=options, seed=seed, single=single, narration=narration, normalize=normalize
        )
        if not plan.single:
            return LongSpeech.join([*self._narrate(plan)], plan.seed)
        if single or narration is None:
            return self._speak(plan.request)
        return speak_checked(self._planner.context(plan), self._speak)

    def _speak(self, request: Request) -> Speech:
        """Speak one utterance: the line at the top of this file."""
        text_ids = self._tokenizer.encode(request.text)
        utterance = self._utterance(request.voice, request.options, request.seed)
        with self._networks.lock:  # other threads wait until all stages have run
            semantic = utterance.semantic(text_ids)
            coarse = utterance.coarse(semantic)
            fine = utterance.fine(coarse)
            waveform = utterance.decode(fine)
        tokens = VoicePreset(semantic, coarse, fine)
        return Speech(waveform, self.sample_rate, tokens, utterance.seed, utterance.timings)

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
        complete, streaming = complete_text(text), or_default("streaming", streaming, StreamOptions)
        plan, kept = self._planner.plan(
            complete or "", growing=complete is None, voice=voice, options=options, seed=seed, single=single,
            history=history, cast=cast, narration=narration, journal=journal, streaming=streaming, normalize=normalize,
        )  # fmt: skip
        with self._idle_workers.lent(checked_worker(worker), partial(self.worker, slots=1)) as (speaker, release):
            narrator = Narrator(self._planner.context(plan), speaker, kept, streaming)
        if isinstance(text, str):
            return SpeechStream(narrator, self.sample_rate, release)
        feed = self._planner.feed(narrator, text, voice, normalize)
        pieces = text if isinstance(text, AsyncIterable) else None  # which the stream reads; threads read an iterator
        return SpeechStream(narrator, self.sample_rate, release, feed, pieces)

    def generate_batch(self, requests: Iterable[Request], *, slots: int = 8) -> list[Speech]:
        """Speak many texts together, each with its own voice, seed and options; return the results in the same order.

        Each is one utterance, spoken as it is written; `words` writes numbers out.

        Args:
            slots: utterances at a time; each takes memory for its KV caches.

        Raises:
            BatchError: some requests failed, or were refused; the others have been generated, and the error holds their
                results.
        """
        requests = checked_requests(requests)
        engine = self.engine(slots=max(1, min(whole("slots", slots), len(requests))))
        return speak_batch(engine, requests, self.progress)

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
        worker = checked_worker(worker)
        plan, kept = self._planner.plan(
            text, split=True, voice=voice, options=options, seed=seed, history=history, cast=cast, narration=narration,
            journal=journal, normalize=normalize,
        )  # fmt: skip
        return self._narrate(plan, kept, worker)

    def _narrate(
        self, plan: Plan, journal: Journal | None = None, worker: Worker | None = None
    ) -> Iterator[SpokenPassage]:
        """Speak the passages of a plan, on a worker or on an engine of their own."""
        runner = worker or self.engine(slots=len(plan.block(0, voiced=True)))  # a slot for each passage of a block
        return narrate(self._planner.context(plan), runner, journal, self.progress)

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
        plan, _ = self._planner.plan(
            text, voice=voice, options=options, seed=seed, narration=narration, warns=False, normalize=normalize
        )
        return (yield from speech_steps(self._planner.context(plan), checked=narration is not None))

    def words(self, text: str, *, voice: Voice | None = None, normalize: str = AUTO) -> str:
        """The words that `generate` says for a text: numbers, dates, symbols and the like are written out.

        Args:
            text, voice, normalize: as for `generate`.
        """
        return self._planner.words(text, voice, normalize)

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

    # the stages, one call each

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
        return self._utterance(voice, options, seed).semantic(text_ids)

    def coarse(
        self,
        semantic: ArrayLike,
        *,
        voice: Voice | None = None,
        options: GenerationOptions | None = None,
        seed: int | None = None,
    ) -> IntArray:
        """Semantic tokens [S] -> coarse codes [2, T], 75 frames for a second. Raises NothingSaid if S is 0."""
        return self._utterance(voice, options, seed).coarse(semantic)

    def fine(
        self,
        coarse: ArrayLike,
        *,
        voice: Voice | None = None,
        options: GenerationOptions | None = None,
        seed: int | None = None,
    ) -> IntArray:
        """Coarse codes [n, T] of the first n codebooks, usually 2 -> the codes of all codebooks [8, T]."""
        return self._utterance(voice, options, seed).fine(coarse)

    def decode(self, fine: ArrayLike) -> Waveform:
        """Fine codes [8, T] -> waveform [320 T], float32, mono, full scale at 1."""
        return self._utterance(seed=0).decode(fine)  # any seed: the codec samples nothing

    def _utterance(
        self, voice: Voice | None = None, options: GenerationOptions | None = None, seed: int | None = None
    ) -> Utterance:
        """An utterance without tokens yet, for calls of its stages."""
        options = or_default("options", options, GenerationOptions)
        return Utterance(self._loops, self.preset(voice), options, checked_seed(seed), self.progress)

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
            self._loops.kept_caches.clear()
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
