"""Many utterances at once: each with its own voice, seed, options and length, all of them through the same weights.

A decode step is bound by the bandwidth that reads the weights, so utterances take their steps together. Each has a row
of the KV caches while it needs one; when it ends, the next job takes the row at once (continuous batching). The engine
has no thread: `step` does one piece of work, and whoever owns the engine calls it for as long as it returns True. A
`Worker` does that on a thread of its own.

Failures: all work runs inside `Engine._working`. Whatever is raised there ends exactly the jobs that the work was for;
their rows are cleared, and the other jobs go on.
"""

from collections import deque
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from time import monotonic, perf_counter

import numpy as np

from ..arrays import Waveform
from ..errors import BarkError, NothingSaid, or_default, shown
from ..model.tokenizer import Tokenizer
from ..model.vocabulary import CausalStage
from ..model.voice import Voice, VoicePreset
from ..numbers import check_seed, whole
from ..sampling.distribution import draw_seed, random_stream
from ..sampling.loops import Loops
from ..stages.coarse import CoarseSequence
from ..stages.fine import FineSequence, fill
from ..stages.options import GenerationOptions
from ..stages.semantic import SemanticSequence
from .counts import Counts
from .job import Job, JobState, Request
from .lead import ListenersFirst, ahead, lead, opening
from .rows import Rows
from .speech import Speech
from .stream import ChunkedAudio, StreamOptions

# Fine windows in one run. The fine model is bound by arithmetic: on two cores, four windows together took 18 % longer
# than one after another, because they do not fit in the processor's caches.
FINE_ROWS = {"cpu": 1, "cuda": 8}

# Semantic steps for each coarse step, while a listener waits for a stream's first audio, and while none does.
FIRST_AUDIO_STEPS, LATER_STEPS = 3, 1

# Whether streams make the codes of their first audio without the other rows of the coarse stage. On a CPU a step of
# fewer rows is shorter; on a GPU it takes as long.
OPEN_ALONE = {"cpu": True, "cuda": False}

MOST_SLOTS = 1024


class Engine:
    """Utterances that share the networks. Make one with `Bark.engine`.

    One thread at a time runs `step`; `submit` and `cancel` may be called from any thread at any time.

    Args:
        loops: the model's loops, which other engines may share.
        slots: utterances at a time in the semantic stage, and as many in the coarse stage; more wait in a queue.
        find_voice: the preset of a request's voice; raises VoiceError.
    """

    def __init__(
        self,
        loops: Loops,
        tokenizer: Tokenizer,
        find_voice: Callable[[Voice | None], VoicePreset | None],
        slots: int,
    ) -> None:
        slots = whole("slots", slots)
        if slots < 1:
            raise BarkError(f"an engine needs at least 1 slot, not {shown(slots)}")
        if slots > MOST_SLOTS:
            raise BarkError(f"an engine has at most {MOST_SLOTS} slots, not {shown(slots)}")
        self._loops, self._networks = loops, loops.networks
        self._tokenizer = tokenizer
        self._vocabulary = self._networks.vocabulary
        self._find_voice = find_voice
        self._semantic = Rows(self._loops.semantic, slots)
        self._coarse = Rows(self._loops.coarse, slots)
        self._fine = self._loops.fine  # `prepare` must not wait for the networks' lock, which others hold for seconds
        self._codec = self._networks.codec
        self._open_alone = OPEN_ALONE[self._networks.device.memory]
        self._waiting: deque[Job] = deque()  # for a row of the semantic stage
        self._between: deque[Job] = deque()  # for a row of the coarse stage
        self._order, self._order_between = ListenersFirst(self._waiting), ListenersFirst(self._between)
        self._after_coarse: list[Job] = []  # the coarse stage has ended, the fine stage has not
        self._semantic_steps = 0  # since the last step of the coarse stage
        self._at_work: Sequence[Job] = ()  # the jobs of the run that is in progress
        self.counts = Counts()

    # what a caller does

    def submit(self, request: Request) -> Job:
        """Accept a request; `step` does the work. Raises BarkError, and accepts nothing, if it cannot be done."""
        job = self.prepare(request)
        self.add(job)
        return job

    def prepare(self, request: Request, *, warns: bool = True) -> Job:
        """The job of a request, not yet in the queue. Raises BarkError if it cannot be done.

        Args:
            warns: whether to warn about words that the model's vocabulary lacks. A long text does that once.
        """
        if not isinstance(request, Request):
            raise BarkError(f"a request must be a Request, not {type(request).__name__}: Request('a text')")
        options, vocabulary = or_default("options", request.options, GenerationOptions), self._vocabulary
        streaming = None if request.streaming is None else or_default("streaming", request.streaming, StreamOptions)
        seed = draw_seed() if request.seed is None else check_seed(request.seed)
        voice = self._find_voice(request.voice)
        if voice is not None:
            voice.warn_if_uneven(vocabulary)
        streams = {stage: random_stream(seed, stage) for stage in ("semantic", "coarse", "fine")}
        sizes = self._networks.sizes
        text_ids = self._tokenizer.encode(request.text, warns=warns)
        fine = FineSequence(voice, options, vocabulary, streams["fine"])
        return Job(
            request,
            seed,
            SemanticSequence(text_ids, voice, options, vocabulary, sizes.semantic.no_history_id, streams["semantic"]),
            CoarseSequence(voice, options, vocabulary, sizes.coarse.context, streams["coarse"]),
            fine,
            None if streaming is None else ChunkedAudio(self._fine, self._codec, fine, streaming, vocabulary),
        )

    def add(self, job: Job) -> None:
        """Put a job that `prepare` made into the queue."""
        self._waiting.append(job)

    def cancel(self, job: Job, error: BarkError | None = None) -> None:
        """End a job wherever it is: as cancelled, or as failed if an error is given.

        Its rows are free at once; if a run is in progress in another thread, they are free after that run.
        """
        job.end(JobState.CANCELLED if error is None else JobState.FAILED, error=error)
        if self._networks.lock.acquire(blocking=False):
            try:
                if not self._at_work:
                    self._sweep()
            finally:
                self._networks.lock.release()

    def step(self) -> bool:
        """Do one piece of work: a prefill, a decode step of all rows of a stage, a fine window, a chunk of audio.

        False if there was nothing to do. A KeyboardInterrupt during a run ends the jobs of that run and is raised;
        every other error ends them and is kept as their `Job.error`.
        """
        with self._networks.lock:
            self._networks.check_open()
            self._end_interrupted()
            self._sweep()  # jobs that were cancelled while somebody else held the lock
            try:
                return self._step()
            finally:
                self._sweep()

    def work(self, jobs: Sequence[Job], progress: Callable[[Sequence[Job]], None] | None = None) -> None:
        """Work until these jobs have ended; other jobs in the engine go on beside them.

        An interrupt (KeyboardInterrupt) cancels these jobs and is raised.

        Args:
            progress: called with these jobs after each step.
        """
        try:
            while not all(job.ended for job in jobs):
                if not self.step() and not all(job.ended for job in jobs):
                    raise AssertionError("the engine is idle although a job has not ended")
                if progress is not None:
                    progress(jobs)
        finally:
            for job in jobs:
                self.cancel(job)  # changes nothing for a job that has ended

    def run(self, requests: Sequence[Request], progress: Callable[[Sequence[Job]], None] | None = None) -> list[Job]:
        """Submit the passages of a long text and work until all of them have ended.

        Args:
            progress: called with the jobs after each step.

        Raises BarkError if one cannot be done.
        """
        jobs = [self.prepare(request, warns=False) for request in requests]
        for job in jobs:
            self.add(job)
        self.work(jobs, progress)
        return jobs

    @property
    def waiting(self) -> int:
        """Jobs in the queue that have not begun."""
        return sum(job.state is JobState.WAITING for job in tuple(self._waiting))

    @property
    def active_rows(self) -> dict[CausalStage, int]:
        """Rows in use, by stage."""
        return {"semantic": len(self._semantic.jobs), "coarse": len(self._coarse.jobs)}

    @property
    def slots(self) -> int:
        """Utterances at a time in each of the semantic and the coarse stage."""
        return self._semantic.cache.rows

    @property
    def idle(self) -> bool:
        """Whether no job is left in the queues and rows."""
        return not (self._waiting or self._between or self._after_coarse or self._semantic.jobs or self._coarse.jobs)

    def __repr__(self) -> str:
        semantic, coarse = len(self._semantic.jobs), len(self._coarse.jobs)
        return f"<Engine of {self.slots} slots: {self.waiting} waiting, {semantic} semantic, {coarse} coarse>"

    # where work is run, and what becomes of a job

    @contextmanager
    def _working(self, stage: str, jobs: Sequence[Job]) -> Iterator[None]:
        """Run one piece of work for these jobs: the only place where graphs run.

        The seconds are divided among the jobs. If the block raises, exactly these jobs end with its error; the error
        goes no further, unless it is an interrupt of the program (KeyboardInterrupt, SystemExit).
        """
        start = perf_counter()
        self._at_work = jobs
        try:
            yield
        except BaseException as error:
            for job in jobs:
                job.end(JobState.FAILED, error=error)
            if not isinstance(error, Exception):
                raise
        finally:
            for job in jobs:
                job.timings[stage] += (perf_counter() - start) / len(jobs)
        self._at_work = ()

    def _end_interrupted(self) -> None:
        """End the jobs whose run did not return: a second interrupt may even have cut off the first one's handling."""
        for job in self._at_work:
            job.end(JobState.FAILED, error=BarkError("the work on this utterance was interrupted"))
        self._at_work = ()

    def _sweep(self) -> None:
        """Take jobs that have ended out of the rows and queues."""
        for rows in (self._semantic, self._coarse):
            for job in tuple(rows.jobs.values()):
                if job.ended:
                    rows.leave(job)
        for queue in (self._waiting, self._between, self._after_coarse):
            for job in tuple(queue):
                if job.ended:
                    queue.remove(job)

    def _finish(self, job: Job, samples: Waveform) -> None:
        tokens = VoicePreset(job.semantic_tokens, job.coarse_codes, job.fine.codes())
        speech = Speech(samples, self._vocabulary.sample_rate, tokens, job.seed, job.timings)
        job.end(JobState.DONE, speech=speech)

    # which stage is next

    def _step(self) -> bool:
        while self._between and not self._coarse.full:
            job = self._order_between.next()
            self._coarse.enter(job)
            self._order_between.remove(job)
        # Nobody waits while a job needs a row of the coarse stage: the streams that are ahead end, and free theirs.
        jobs = [*self._semantic.jobs.values(), *self._coarse.jobs.values(), *self._after_coarse]
        can_wait = set() if self._between else ahead(jobs)
        if self._chunk_step(can_wait) or self._fine_step():
            return True
        if self._coarse_goes_first():
            return self._coarse_step(can_wait) or self._semantic_step()
        return self._semantic_step() or self._coarse_step(can_wait)

    def _coarse_goes_first(self) -> bool:
        """Whether the coarse stage runs before the semantic stage.

        Whole utterances gather before the coarse stage, so that it runs with all rows. Utterances that stream wait for
        nobody; but while a job's coarse stage waits for semantic tokens, the semantic stage gets every second step, and
        more of them if a listener waits for a stream's first audio.
        """
        active = self._coarse.active.values()
        if not any(job.request.streaming for job in active):
            return self._coarse.full
        moving = {id(job) for job in active if job.coarse.in_window or job.coarse.can_begin}
        urgent = [job for job in [*self._semantic.active.values(), *self._waiting] if id(job) not in moving]
        now = monotonic()
        first = any(job.first_audio is None and lead(job, now) <= 0 for job in urgent)
        return self._semantic_steps >= (FIRST_AUDIO_STEPS if first else LATER_STEPS if urgent else 0)

    # the semantic stage

    def _semantic_step(self) -> bool:
        """Prefill the next job that waits, or decode the next token of all rows."""
        rows = self._semantic
        # A job begins only if the coarse stage keeps up. Otherwise more and more jobs would wait between the stages,
        # where no limit of the queue counts them.
        if self._waiting and not rows.full and len(self._between) < self.slots:
            job = self._order.next()
            with self._working("semantic", [job]):
                self._order.remove(job)
                job.advance(JobState.SEMANTIC)
                self.counts.begun += 1
                self.counts.waited_seconds += monotonic() - job.created
                row = rows.enter(job)
                errors = rows.loop.begin(rows.cache, job.semantic, *job.semantic.prompt, row=row)
                self._after_semantic({row: job}, errors)
        elif active := rows.active:
            with self._working("semantic", [*active.values()]):
                errors = rows.loop.step(rows.cache, {row: job.semantic for row, job in active.items()})
                self._after_semantic(active, errors)
        else:
            return False
        self._semantic_steps += 1
        return True

    def _after_semantic(self, active: Mapping[int, Job], errors: Mapping[int, BarkError]) -> None:
        """Feed the new tokens of these jobs to the coarse stage."""
        for row, job in active.items():
            semantic, coarse = job.semantic, job.coarse
            if row in errors:
                job.end(JobState.FAILED, error=errors[row])
            if job.ended:
                continue
            could = coarse.can_begin or coarse.in_window or coarse.length > 0
            self.counts.semantic_tokens += len(semantic.tokens) - job.fed_to_coarse
            coarse.feed(semantic.tokens[job.fed_to_coarse :], ended=semantic.ended)
            job.fed_to_coarse = len(semantic.tokens)
            if semantic.ended:
                if not coarse.total:  # no token, or too few for one frame of codes
                    job.end(JobState.FAILED, error=NothingSaid())
                    continue
                job.advance(JobState.COARSE)
                self._semantic.leave(job)
            if coarse.can_begin and not could:
                self._between.append(job)

    # the coarse stage

    def _coarse_step(self, can_wait: set[Job]) -> bool:
        """Prefill the next window of one row that can begin one, or decode the next code of all rows in a window.

        Args:
            can_wait: jobs whose rows are left out.
        """
        rows = self._coarse
        active = {row: job for row, job in rows.active.items() if job not in can_wait}
        decoding = {row: job for row, job in active.items() if job.coarse.in_window}
        first = opening(decoding) if self._open_alone else {}
        now, beginning = monotonic(), [(row, job) for row, job in active.items() if job.coarse.can_begin]
        # Windows begin before the other rows' next step, so that these rows decode together from here on. But streams
        # that begin together have their first audio one after another: so all but the last have it earlier.
        if beginning and not first:
            row, job = min(beginning, key=lambda entry: lead(entry[1], now))
            with self._working("coarse", [job]):
                errors = rows.loop.begin(rows.cache, job.coarse, job.coarse.begin_window(), row=row)
                self._after_coarse_run({row: job}, errors)
        elif decoding := first or decoding:
            with self._working("coarse", [*decoding.values()]):
                errors = rows.loop.step(rows.cache, {row: job.coarse for row, job in decoding.items()})
                self._after_coarse_run(decoding, errors)
        else:
            return False
        self._semantic_steps = 0
        return True

    def _after_coarse_run(self, active: Mapping[int, Job], errors: Mapping[int, BarkError]) -> None:
        """Feed the new codes of these jobs to the fine stage."""
        self.counts.coarse_codes += len(active)
        for row, job in active.items():
            coarse = job.coarse
            if row in errors:
                job.end(JobState.FAILED, error=errors[row])
            if job.ended:
                continue
            if coarse.ended:
                job.advance(JobState.FINE)
                self._coarse.leave(job)
                self._after_coarse.append(job)
            if job.chunked is not None or coarse.ended:
                job.fine.feed(coarse.codes(job.fine.frames), ended=coarse.ended)

    # the fine stage and the codec

    def _fine_step(self) -> bool:
        """Fill one window of as many whole utterances as fit in a run; decode those that are complete."""
        most = FINE_ROWS[self._networks.device.memory]
        jobs = [job for job in self._after_coarse if job.chunked is None and not job.ended][:most]
        if not jobs:
            return False
        filling = [job for job in jobs if job.fine.can_begin]  # not all, if an interrupt came before the codec's run
        if filling:
            with self._working("fine", filling):
                for job in filling:
                    job.fine.begin_window()
                errors = fill(self._fine, [job.fine for job in filling])
                for place, error in errors.items():
                    filling[place].end(JobState.FAILED, error=error)
        for job in jobs:
            if not job.ended and not job.fine.can_begin:
                with self._working("codec", [job]):
                    samples = self._codec.decode(job.fine.codes())
                    self.counts.samples += len(samples)
                    self._finish(job, samples)
        return True

    def _chunk_step(self, can_wait: set[Job]) -> bool:
        """Make one chunk of the utterance whose listener has the least audio left to play.

        Args:
            can_wait: jobs that are left out.
        """
        now, jobs = monotonic(), [*self._coarse.active.values(), *self._after_coarse]
        ready = [
            (lead(job, now), place, job.chunked, job)
            for place, job in enumerate(jobs)
            if job.chunked is not None and not job.ended and job not in can_wait
            if job.chunked.can_advance or job.chunked.can_decode
        ]
        if not ready:
            return False
        *_, chunked, job = min(ready, key=lambda entry: entry[:2])
        if not chunked.can_decode:  # else an interrupt came before the codec's run
            with self._working("fine", [job]):
                chunked.advance()
            if job.ended:
                return True
        with self._working("codec", [job]):
            chunk = chunked.decode()
            if chunk is not None:
                self.counts.samples += len(chunk.waveform)
                job.chunks.append(chunk)
                job.first_audio = job.first_audio or monotonic()
                job.waveforms.append(chunk.waveform)
            if chunked.ended:
                self._finish(job, np.concatenate(job.waveforms))
        return True
