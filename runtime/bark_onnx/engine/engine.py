"""Many utterances at once: each with its own voice, seed, options and length, all of them through the same weights.

A decode step is bound by the bandwidth that reads the weights, so utterances take their steps together. Each has a row
of the KV caches while it needs one, and the next takes that row at once (continuous batching). There is no thread here:
work is done inside `step`, one piece at a time, and a server calls it for as long as it returns True.
"""

from collections import deque
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from time import perf_counter

import numpy as np

from ..arrays import Waveform
from ..errors import BarkError
from ..graphs.networks import Networks
from ..model.tokenizer import Tokenizer
from ..model.vocabulary import Vocabulary
from ..model.voice import Voice, VoicePreset
from ..sampling.distribution import draw_seed, random_stream
from ..sampling.loops import CausalLoop, Loops
from ..stages.coarse import CoarseSequence
from ..stages.codec import waveforms
from ..stages.fine import FineSequence, fill
from ..stages.options import GenerationOptions
from ..stages.semantic import NOTHING_SAID, SemanticSequence
from .job import Job, Request
from .speech import Speech
from .stream import AudioChunk, ChunkedAudio

# Windows of the fine stage in one run. It is bound by arithmetic: on two cores, four windows together took 18 % longer
# than one after another, since they do not fit in the processor's caches.
FINE_ROWS = {"cpu": 1, "cuda": 8}


class Rows:
    """A causal decoder's KV cache, and whose each row is."""

    def __init__(self, loop: CausalLoop, rows: int) -> None:
        self.loop = loop
        self.cache = loop.new_cache(rows)
        self.jobs: dict[int, Job] = {}

    @property
    def full(self) -> bool:
        return len(self.jobs) == self.cache.rows

    def enter(self, job: Job) -> int:
        """The lowest free row, so that rows in use lie together."""
        row = min(set(range(self.cache.rows)) - self.jobs.keys())
        self.jobs[row] = job
        self.cache.clear(row)
        return row

    def leave(self, job: Job) -> None:
        for row in [row for row, owner in self.jobs.items() if owner is job]:
            del self.jobs[row]
            self.cache.clear(row)  # a row that runs along costs as much as it holds


class Engine:
    """Utterances that share the networks. Make one with `Bark.engine`.

    Args:
        slots: utterances at a time in each of the semantic and the coarse stage; more wait for their turn.
    """

    def __init__(
        self,
        networks: Networks,
        tokenizer: Tokenizer,
        vocabulary: Vocabulary,
        find_voice: Callable[[Voice | None], VoicePreset | None],
        slots: int,
    ) -> None:
        if slots < 1:
            raise BarkError(f"an engine has at least 1 slot, not {slots}")
        self._networks = networks
        self._tokenizer = tokenizer
        self._vocabulary = vocabulary
        self._find_voice = find_voice
        self._loops = Loops(networks)
        self._semantic = Rows(self._loops.semantic, slots)
        self._coarse = Rows(self._loops.coarse, slots)
        self._waiting: deque[Job] = deque()  # for a row of the semantic stage
        self._between: deque[Job] = deque()  # for a row of the coarse stage
        self._behind: list[Job] = []  # the coarse stage has ended, the fine stage has not
        self._coarse_was_last = False

    def submit(self, request: Request) -> Job:
        """Take a request; its work is done by `step`. Raises BarkError, and takes nothing, if it cannot be done."""
        options, space = request.options or GenerationOptions(), self._vocabulary
        seed = draw_seed() if request.seed is None else request.seed
        voice = self._find_voice(request.voice)
        if voice is not None:
            voice.warn_if_uneven(space)
        streams = {stage: random_stream(seed, stage) for stage in ("semantic", "coarse", "fine")}
        sizes = self._networks.sizes
        text_ids = self._tokenizer.encode(request.text)
        fine = FineSequence(voice, options, space, streams["fine"])
        job = Job(
            request,
            seed,
            SemanticSequence(text_ids, voice, options, space, sizes.semantic.no_history_id, streams["semantic"]),
            CoarseSequence(voice, options, space, sizes.coarse.context, streams["coarse"]),
            fine,
            ChunkedAudio(self._networks, fine, request.streaming, space) if request.streaming else None,
        )
        self._waiting.append(job)
        return job

    def cancel(self, job: Job) -> None:
        """Drop a job wherever it is; its rows are free at once."""
        job.cancelled = job.cancelled or not job.ended
        self._forget(job)

    def step(self) -> bool:
        """Do one piece of work: a prefill, a decode step of all rows of a stage, a fine window, a chunk.

        False when there is nothing left to do.
        """
        while self._between and not self._coarse.full:
            self._coarse.enter(self._between.popleft())
        if self._fine_step() or self._chunk_step():
            return True
        if self._coarse_goes_first():
            return self._coarse_step() or self._semantic_step()
        return self._semantic_step() or self._coarse_step()

    # which stage

    def _coarse_goes_first(self) -> bool:
        """Whole utterances gather before the coarse stage, so that it runs full; who streams waits for nobody.

        A row of the semantic stage that keeps its own coarse stage waiting has every second step.
        """
        if not any(job.request.streaming for job in self._coarse.jobs.values()):
            return self._coarse.full
        moving = {id(job) for job in self._coarse.jobs.values() if job.coarse.in_window or job.coarse.can_begin}
        urgent = any(id(job) not in moving for job in [*self._semantic.jobs.values(), *self._waiting])
        return not (urgent and self._coarse_was_last)

    # the semantic stage

    def _semantic_step(self) -> bool:
        rows = self._semantic
        if self._waiting and not rows.full:
            job = self._waiting.popleft()
            row = rows.enter(job)
            with _timed([job], "semantic"):
                try:
                    errors = rows.loop.begin(rows.cache, job.semantic, *job.semantic.prompt, row=row)
                except BarkError:
                    self._forget(job)
                    raise
            self._hear_semantic({row: job}, errors)
        elif rows.jobs:
            active = dict(sorted(rows.jobs.items()))
            with _timed([*active.values()], "semantic"):
                errors = rows.loop.step(rows.cache, {row: job.semantic for row, job in active.items()})
            self._hear_semantic(active, errors)
        else:
            return False
        self._coarse_was_last = False
        return True

    def _hear_semantic(self, active: Mapping[int, Job], errors: Mapping[int, BarkError]) -> None:
        """Hand on what these jobs have got, and let those go that are done."""
        for row, job in active.items():
            said = job.semantic
            if row in errors:
                self._fail(job, errors[row])
                continue
            if said.ended and not said.tokens:
                self._fail(job, BarkError(NOTHING_SAID))
                continue
            could = job.coarse.can_begin or job.coarse.in_window or job.coarse.length > 0
            job.coarse.feed(said.tokens[job.handed_on :], ended=said.ended)
            job.handed_on = len(said.tokens)
            if said.ended:
                self._semantic.leave(job)
            if job.coarse.can_begin and not could:
                self._between.append(job)

    # the coarse stage

    def _coarse_step(self) -> bool:
        rows = self._coarse
        for row, job in sorted(rows.jobs.items()):
            if job.coarse.can_begin:  # before the others' next step, so that their windows run together from here on
                with _timed([job], "coarse"):
                    errors = rows.loop.begin(rows.cache, job.coarse, job.coarse.begin_window(), row=row)
                self._hear_coarse({row: job}, errors)
                break
        else:
            active = {row: job for row, job in sorted(rows.jobs.items()) if job.coarse.in_window}
            if not active:
                return False
            with _timed([*active.values()], "coarse"):
                errors = rows.loop.step(rows.cache, {row: job.coarse for row, job in active.items()})
            self._hear_coarse(active, errors)
        self._coarse_was_last = True
        return True

    def _hear_coarse(self, active: Mapping[int, Job], errors: Mapping[int, BarkError]) -> None:
        """Hand on what these jobs have got, and let those go that are done."""
        for row, job in active.items():
            sequence = job.coarse
            if row in errors:
                self._fail(job, errors[row])
                continue
            if sequence.ended:
                self._coarse.leave(job)
                self._behind.append(job)
            if job.chunked is not None or sequence.ended:
                job.fine.feed(sequence.codes(job.fine.frames), ended=sequence.ended)

    # the fine stage and the codec

    def _fine_step(self) -> bool:
        """One window of as many whole utterances as have one; then the codec of those that are done."""
        ready = [job for job in self._behind if job.chunked is None][: FINE_ROWS[self._networks.device.memory]]
        if not ready:
            return False
        with _timed(ready, "fine"):
            for job in ready:
                job.fine.begin_window()
            errors = fill(self._loops.fine, [job.fine for job in ready])
        for place, error in errors.items():
            self._fail(ready[place], error)
        done = [job for job in ready if job.error is None and not job.fine.can_begin]
        with _timed(done, "codec"):
            audio = waveforms(self._networks.codec, [job.fine.codes() for job in done])
        for job, samples in zip(done, audio, strict=True):
            self._finish(job, samples)
        return True

    def _chunk_step(self) -> bool:
        """One chunk, of the utterance that has had the least audio."""
        ready = [
            (job.chunked.seconds, place, job.chunked, job)
            for place, job in enumerate([*self._coarse.jobs.values(), *self._behind])
            if job.chunked is not None and job.chunked.can_advance
        ]
        if not ready:
            return False
        *_, chunked, job = min(ready, key=lambda entry: entry[:2])
        try:
            with _timed([job], "fine"):
                chunked.advance()
        except BarkError as error:
            self._fail(job, error)
            return True
        with _timed([job], "codec"):
            chunk = chunked.decode()
        if chunk is not None:
            job.chunks.append(chunk)
            job.waveforms.append(chunk.waveform)
        if chunked.ended:
            self._finish(job, np.concatenate(job.waveforms))
        return True

    def _finish(self, job: Job, samples: Waveform) -> None:
        tokens = VoicePreset(np.array(job.semantic.tokens), job.coarse.codes(), job.fine.codes())
        job.speech = Speech(samples, self._vocabulary.sample_rate, tokens, job.seed, job.timings)
        self._forget(job)

    def _fail(self, job: Job, error: BarkError) -> None:
        job.error = error
        self._forget(job)

    def _forget(self, job: Job) -> None:
        """Take a job out of wherever it is."""
        self._semantic.leave(job)
        self._coarse.leave(job)
        for queue in (self._waiting, self._between, self._behind):
            if job in queue:
                queue.remove(job)


class SpeechStream(Iterator[AudioChunk]):
    """An utterance while it is made. Iterate over it for its chunks; work is done only while the next is asked for.

    Args:
        engine: where the job is, alone.
        idle: takes the engine back at the end.
    """

    def __init__(self, engine: Engine, job: Job, idle: list[Engine]) -> None:
        self._engine: Engine | None = engine
        self._job = job
        self._idle = idle

    @property
    def seed(self) -> int:
        """What makes the same tokens again."""
        return self._job.seed

    @property
    def speech(self) -> Speech | None:
        """The whole result, once the last chunk has come."""
        return self._job.speech

    def __next__(self) -> AudioChunk:
        while not self._job.chunks:
            if self._engine is None or not self._engine.step():
                self.close()
                if self._job.error is not None:
                    raise self._job.error
                raise StopIteration
        return self._job.chunks.popleft()

    def close(self) -> None:
        """Stop here. What has not been made will not be."""
        if self._engine is not None:
            self._engine.cancel(self._job)
            self._job.chunks.clear()
            if not self._idle:  # one is enough for streams one after another
                self._idle.append(self._engine)
            self._engine = None

    def __enter__(self) -> "SpeechStream":
        return self

    def __exit__(self, *_: object) -> None:
        self.close()


@contextmanager
def _timed(jobs: Sequence[Job], stage: str) -> Iterator[None]:
    """Divide the seconds among the jobs that they were spent for."""
    start = perf_counter()
    yield
    for job in jobs:
        job.timings[stage] += (perf_counter() - start) / len(jobs)
