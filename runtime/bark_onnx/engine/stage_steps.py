"""What a step of an engine does in each stage: for one job, or for all jobs that are there together.

The networks sample; what they give is fed to the next stage at once, so that a stream has audio before its text is
finished. Each step tells whether there was anything to do.
"""

from collections.abc import Mapping
from time import monotonic

import numpy as np

from ..arrays import Waveform
from ..errors import BarkError, NothingSaid
from ..model.voice import VoicePreset
from ..sampling.loops import Loops
from ..stages.fine import fill
from .counts import Counts
from .job import Job, JobState
from .lead import lead, opening
from .places import Places
from .speech import Speech
from .work import Work

# Fine windows in one run. The fine model is bound by arithmetic: on two cores, four windows together took 18 % longer
# than one after another, because they do not fit in the processor's caches.
FINE_ROWS = {"cpu": 1, "cuda": 8}

# Whether streams make the codes of their first audio without the other rows of the coarse stage. On a CPU a step of
# fewer rows is shorter; on a GPU it takes as long.
OPEN_ALONE = {"cpu": True, "cuda": False}


class StageSteps:
    """The steps of the stages for the jobs of an engine.

    Args:
        loops: of the networks.
        places: where the jobs are; a step moves them on.
        work: runs the graphs for them.
        counts: is told what was made.
    """

    def __init__(self, loops: Loops, places: Places, work: Work, counts: Counts) -> None:
        networks = loops.networks
        self._places = places
        self._work = work
        self._counts = counts
        self._fine, self._codec = loops.fine, networks.codec
        self._fine_rows = FINE_ROWS[networks.device.memory]
        self._open_alone = OPEN_ALONE[networks.device.memory]
        self._sample_rate = networks.vocabulary.sample_rate

    def semantic(self) -> bool:
        """Prefill the next job that waits, or decode the next token of all rows."""
        places, rows = self._places, self._places.semantic
        # A job begins only if the coarse stage keeps up. Otherwise more and more jobs would wait between the stages,
        # where no limit of the queue counts them.
        if places.waiting and not rows.full and len(places.between) < places.slots:
            job = places.order.next()
            with self._work.on("semantic", [job]):
                places.order.remove(job)
                job.advance(JobState.SEMANTIC)
                self._counts.begun += 1
                self._counts.waited_seconds += monotonic() - job.created
                row = rows.enter(job)
                errors = rows.loop.begin(rows.cache, job.semantic, *job.semantic.prompt, row=row)
                self._after_semantic({row: job}, errors)
        elif active := rows.active:
            with self._work.on("semantic", [*active.values()]):
                errors = rows.loop.step(rows.cache, {row: job.semantic for row, job in active.items()})
                self._after_semantic(active, errors)
        else:
            return False
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
            self._counts.semantic_tokens += len(semantic.tokens) - job.fed_to_coarse
            coarse.feed(semantic.tokens[job.fed_to_coarse :], ended=semantic.ended)
            job.fed_to_coarse = len(semantic.tokens)
            if semantic.ended:
                if not coarse.total:  # no token, or too few for one frame of codes
                    job.end(JobState.FAILED, error=NothingSaid())
                    continue
                job.advance(JobState.COARSE)
                self._places.semantic.leave(job)
            if coarse.can_begin and not could:
                self._places.between.append(job)

    # the coarse stage

    def coarse(self, can_wait: set[Job]) -> bool:
        """Prefill the next window of one row that can begin one, or decode the next code of all rows in a window.

        Args:
            can_wait: jobs whose rows are left out.
        """
        rows = self._places.coarse
        active = {row: job for row, job in rows.active.items() if job not in can_wait}
        decoding = {row: job for row, job in active.items() if job.coarse.in_window}
        first = opening(decoding) if self._open_alone else {}
        now, beginning = monotonic(), [(row, job) for row, job in active.items() if job.coarse.can_begin]
        # Windows begin before the other rows' next step, so that these rows decode together from here on. But streams
        # that begin together have their first audio one after another: so all but the last have it earlier.
        if beginning and not first:
            row, job = min(beginning, key=lambda entry: lead(entry[1], now))
            with self._work.on("coarse", [job]):
                errors = rows.loop.begin(rows.cache, job.coarse, job.coarse.begin_window(), row=row)
                self._after_coarse_run({row: job}, errors)
        elif decoding := first or decoding:
            with self._work.on("coarse", [*decoding.values()]):
                errors = rows.loop.step(rows.cache, {row: job.coarse for row, job in decoding.items()})
                self._after_coarse_run(decoding, errors)
        else:
            return False
        return True

    def _after_coarse_run(self, active: Mapping[int, Job], errors: Mapping[int, BarkError]) -> None:
        """Feed the new codes of these jobs to the fine stage."""
        self._counts.coarse_codes += len(active)
        for row, job in active.items():
            coarse = job.coarse
            if row in errors:
                job.end(JobState.FAILED, error=errors[row])
            if job.ended:
                continue
            if coarse.ended:
                job.advance(JobState.FINE)
                self._places.coarse.leave(job)
                self._places.after_coarse.append(job)
            if job.chunked is not None or coarse.ended:
                job.fine.feed(coarse.codes(job.fine.frames), ended=coarse.ended)

    # the fine stage and the codec

    def fine(self) -> bool:
        """Fill one window of as many whole utterances as fit in a run; decode those that are complete."""
        jobs = [job for job in self._places.after_coarse if job.chunked is None and not job.ended][: self._fine_rows]
        if not jobs:
            return False
        filling = [job for job in jobs if job.fine.can_begin]  # not all, if an interrupt came before the codec's run
        if filling:
            with self._work.on("fine", filling):
                for job in filling:
                    job.fine.begin_window()
                errors = fill(self._fine, [job.fine for job in filling])
                for place, error in errors.items():
                    filling[place].end(JobState.FAILED, error=error)
        for job in jobs:
            if not job.ended and not job.fine.can_begin:
                with self._work.on("codec", [job]):
                    samples = self._codec.decode(job.fine.codes())
                    self._counts.samples += len(samples)
                    self._finish(job, samples)
        return True

    def chunk(self, can_wait: set[Job]) -> bool:
        """Make one chunk of the utterance whose listener has the least audio left to play.

        Args:
            can_wait: jobs that are left out.
        """
        now, jobs = monotonic(), [*self._places.coarse.active.values(), *self._places.after_coarse]
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
            with self._work.on("fine", [job]):
                chunked.advance()
            if job.ended:
                return True
        with self._work.on("codec", [job]):
            chunk = chunked.decode()
            if chunk is not None:
                self._counts.samples += len(chunk.waveform)
                job.chunks.append(chunk)
                job.first_audio = job.first_audio or monotonic()
                job.waveforms.append(chunk.waveform)
            if chunked.ended:
                self._finish(job, np.concatenate(job.waveforms))
        return True

    def _finish(self, job: Job, samples: Waveform) -> None:
        tokens = VoicePreset(job.semantic_tokens, job.coarse_codes, job.fine.codes())
        job.end(JobState.DONE, speech=Speech(samples, self._sample_rate, tokens, job.seed, job.timings))
