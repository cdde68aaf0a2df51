"""A thread pool that decodes packet runs, processes their frames, and gives the results in order.

A free thread takes the next job. Processing a decoded frame comes first, then decoding; the first run comes before the
others. No run gets further ahead of the consumer than the window allows. A thread that may not decode processes frames
of the first run.
"""

from __future__ import annotations

import threading
from collections import deque
from collections.abc import Callable, Generator, Iterator, Sequence
from typing import Generic, Protocol, TypeVar

from av.video.frame import VideoFrame

from actors.plan.frame_selection import Target
from actors.plan.frame_table import Ticks
from actors.plan.gop_schedule import PacketRun
from actors.readers.frame_reader import MAX_REORDERED

MAX_WAITING_FRAMES = 2
"""Decoded frames of one run that may wait to be processed. With more, the run is not decoded further."""

T = TypeVar("T")


class RunDecoder(Protocol):
    """Decodes one run after the other. Any thread may use it, one at a time.

    latest_pts: latest presentation time that came out in the current run, ticks.
    """

    latest_pts: int

    def read(self, run: PacketRun) -> Iterator[VideoFrame]:
        """The frames of the run's targets, in order and all of them, or an error."""
        ...

    def close(self) -> None: ...


class _ActiveRun(Generic[T]):
    """A run that is being decoded.

    waiting: decoded frames to be processed, each with its place among the targets. results: of processed frames, by
    place. decoded: number of frames. confirmed: how many of them are certainly undamaged. consumed: how many results
    the consumer has taken. jobs: how many threads work on the run.
    """

    def __init__(self, run: PacketRun, decoder: RunDecoder, confirmation_pts: Ticks) -> None:
        self.run, self.decoder = run, decoder
        self.frames = decoder.read(run)
        self._confirmation_pts = [int(confirmation_pts[target.index]) for target in run.targets]
        self.waiting: deque[tuple[int, VideoFrame]] = deque()
        self.results: dict[int, T] = {}
        self.decoded = self.confirmed = self.consumed = self.jobs = 0
        self.is_decoding = self.is_decoded = False
        self.failure: BaseException | None = None

    @property
    def has_stopped(self) -> bool:
        """Whether it failed and no more results come."""
        return self.failure is not None and not self.jobs and not self.waiting

    def add_frame(self, frame: VideoFrame | None) -> None:
        """Adds the frame of the next target; None when all are decoded."""
        if frame is None:
            self.is_decoded, self.confirmed = True, self.decoded
            return
        self.waiting.append((self.decoded, frame))
        self.decoded += 1
        while self.confirmed < self.decoded and (
            self.decoder.latest_pts >= self._confirmation_pts[self.confirmed]
            or self.decoded - self.confirmed > MAX_REORDERED
        ):
            self.confirmed += 1


class GopPool(Generic[T]):
    """Threads that share the work on the runs: as many runs at a time as there are decoders.

    window: results that may wait for the consumer. One condition guards all shared state.
    """

    def __init__(
        self,
        runs: Sequence[PacketRun],
        decoders: Sequence[RunDecoder],
        threads: int,
        process_frame: Callable[[VideoFrame], T],
        *,
        confirmation_pts: Ticks,
        window: int,
    ) -> None:
        self._process_frame, self._threads = process_frame, threads
        self._confirmation_pts, self._window = confirmation_pts, window
        self._decoders, self._idle_decoders = decoders, list(decoders)
        self._pending_runs = deque(runs)
        self._active_runs: deque[_ActiveRun[T]] = deque()
        self._changed = threading.Condition()
        self._is_closed = False

    def results(self) -> Generator[tuple[Target, T]]:
        """The targets in order, each with its result.

        Raises the error of a decoder or of `process_frame` after all confirmed results before it.
        """
        threads = [threading.Thread(target=self._run_jobs, daemon=True) for _ in range(self._threads)]
        try:
            for thread in threads:
                thread.start()
            while (active := self._first_run()) is not None:
                for place, target in enumerate(active.run.targets):
                    yield target, self._wait_for_result(active, place)
                self._finish_run(active)
        finally:
            with self._changed:
                self._is_closed = True
                self._changed.notify_all()
            for thread in threads:
                thread.join()
            for decoder in self._decoders:
                decoder.close()

    def _first_run(self) -> _ActiveRun[T] | None:
        with self._changed:
            self._changed.wait_for(lambda: self._active_runs or not self._pending_runs)
            return self._active_runs[0] if self._active_runs else None

    def _finish_run(self, active: _ActiveRun[T]) -> None:
        """Waits until the run's decoder is free for the next run."""
        with self._changed:
            self._changed.wait_for(lambda: active.is_decoded or active.has_stopped)
            if active.failure is not None:
                raise active.failure
            self._active_runs.popleft()
            self._changed.notify_all()

    def _wait_for_result(self, active: _ActiveRun[T], place: int) -> T:
        with self._changed:
            self._changed.wait_for(lambda: (place in active.results and place < active.confirmed) or active.has_stopped)
            if place not in active.results or place >= active.confirmed:
                assert active.failure is not None
                raise active.failure
            active.consumed += 1
            self._changed.notify_all()
            return active.results.pop(place)

    def _run_jobs(self) -> None:
        while self._run_one_job():
            pass

    def _run_one_job(self) -> bool:
        """Waits for a job and does it; False when there are no more. A frame is released when this returns."""
        job = self._next_job()
        if job is None:
            return False
        active, item = job
        try:
            if item is None:
                self._decode_next(active)
            else:
                self._process(active, *item)
        except BaseException as error:  # noqa: BLE001  raised again in the consumer's thread
            active.failure = active.failure or error
        with self._changed:
            active.jobs -= 1
            active.is_decoding = active.is_decoding and item is not None
            self._changed.notify_all()
        return True

    def _process(self, active: _ActiveRun[T], place: int, frame: VideoFrame) -> None:
        result = self._process_frame(frame)
        with self._changed:
            active.results[place] = result

    def _decode_next(self, active: _ActiveRun[T]) -> None:
        """Decodes up to the next target's frame, or to the end of the run."""
        frame = next(active.frames, None)
        with self._changed:
            active.add_frame(frame)
            if active.is_decoded:
                self._idle_decoders.append(active.decoder)

    def _next_job(self) -> tuple[_ActiveRun[T], tuple[int, VideoFrame] | None] | None:
        """A run and a frame of it to process; or a run to decode, and None. None: no more jobs come."""
        with self._changed:
            while not self._is_closed:
                active = next((one for one in self._active_runs if one.waiting), None)
                if active is not None:
                    active.jobs += 1
                    return active, active.waiting.popleft()
                active = self._run_to_decode()
                if active is not None:
                    active.jobs, active.is_decoding = active.jobs + 1, True
                    return active, None
                self._changed.wait()
            return None

    def _run_to_decode(self) -> _ActiveRun[T] | None:
        """The first active run that may be decoded further, or else a new one."""
        ahead_of_consumer = sum(active.decoded - active.consumed for active in self._active_runs)
        for active in self._active_runs:
            is_free = not (active.is_decoding or active.is_decoded or active.failure)
            is_first = active is self._active_runs[0]
            ahead = active.confirmed - active.consumed if is_first else ahead_of_consumer
            if is_free and ahead < self._window and len(active.waiting) < MAX_WAITING_FRAMES:
                return active
        if self._pending_runs and self._idle_decoders and ahead_of_consumer < self._window:
            run, decoder = self._pending_runs.popleft(), self._idle_decoders.pop()
            self._active_runs.append(_ActiveRun(run, decoder, self._confirmation_pts))
            return self._active_runs[-1]
        return None
