"""Many utterances at once: each with its own voice, seed, options and length, all of them through the same weights.

A decode step is bound by the bandwidth that reads the weights, so utterances take their steps together. Each has a row
of the KV caches while it needs one; when it ends, the next job takes the row at once (continuous batching). The engine
has no thread: `step` does one piece of work, and whoever owns the engine calls it for as long as it returns True. A
`Worker` does that on a thread of its own.

Here is what callers do: submit, cancel, step. `places` has where each job is, `schedule` which stage is next,
`stage_steps` what it then does, and `work` what becomes of errors.
"""

from collections.abc import Callable, Sequence

from ..errors import BarkError, or_default, shown
from ..model.tokenizer import Tokenizer
from ..model.vocabulary import CausalStage
from ..model.voice import Voice, VoicePreset
from ..numbers import check_seed, whole
from ..sampling.distribution import draw_seed, random_stream
from ..sampling.loops import Loops
from ..stages.coarse import CoarseSequence
from ..stages.fine import FineSequence
from ..stages.options import GenerationOptions
from ..stages.semantic import SemanticSequence
from .counts import Counts
from .job import Job, JobState, Request
from .places import Places
from .schedule import Schedule
from .stage_steps import StageSteps
from .stream import ChunkedAudio, StreamOptions
from .work import Work

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
        self._networks = loops.networks
        self._vocabulary = self._networks.vocabulary
        self._tokenizer = tokenizer
        self._find_voice = find_voice
        self._places = Places(loops, slots)
        self._work = Work()
        # `prepare` must not wait for the networks' lock, which others hold for seconds.
        self._fine, self._codec = loops.fine, self._networks.codec
        self.counts = Counts()
        self._schedule = Schedule(self._places, StageSteps(loops, self._places, self._work, self.counts))

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
        self._places.waiting.append(job)

    def cancel(self, job: Job, error: BarkError | None = None) -> None:
        """End a job wherever it is: as cancelled, or as failed if an error is given.

        Its rows are free at once; if a run is in progress in another thread, they are free after that run.
        """
        job.end(JobState.CANCELLED if error is None else JobState.FAILED, error=error)
        if self._networks.lock.acquire(blocking=False):
            try:
                if not self._work.jobs:
                    self._places.sweep()
            finally:
                self._networks.lock.release()

    def step(self) -> bool:
        """Do one piece of work: a prefill, a decode step of all rows of a stage, a fine window, a chunk of audio.

        False if there was nothing to do. A KeyboardInterrupt during a run ends the jobs of that run and is raised;
        every other error ends them and is kept as their `Job.error`.
        """
        with self._networks.lock:
            self._networks.check_open()
            self._settle()
            try:
                return self._schedule.step()
            finally:
                self._places.sweep()

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
            with self._networks.lock:
                self._settle()

    def _settle(self) -> None:
        """End the jobs of a run that an interrupt cut off, and free the places of all jobs that have ended.

        Some may have been cancelled while somebody else held the lock.
        """
        self._work.end_interrupted()
        self._places.sweep()

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
        return self._places.not_begun

    @property
    def active_rows(self) -> dict[CausalStage, int]:
        """Rows in use, by stage."""
        return self._places.active_rows

    @property
    def slots(self) -> int:
        """Utterances at a time in each of the semantic and the coarse stage."""
        return self._places.slots

    @property
    def idle(self) -> bool:
        """Whether no job is left in the queues and rows."""
        return self._places.empty

    def __repr__(self) -> str:
        rows = ", ".join(f"{count} {stage}" for stage, count in self.active_rows.items())
        return f"<Engine of {self.slots} slots: {self.waiting} waiting, {rows}>"
