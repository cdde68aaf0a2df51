"""Threads that decode runs and make images of their frames, and give what they made in order.

What has to be done next is taken by whichever thread is free: making an image of a decoded frame comes first, then
decoding on, the first run before the others. No run gets further ahead of the consumer than the window allows; a
thread that may decode no further makes images of the first run's frames.
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

MAX_REORDERED = 16
"""Pictures that a decoder of any codec holds back; a table that says more is wrong."""
BACKLOG = 2
"""Decoded frames of one run that wait to be made images, beyond which it is not decoded on."""

T = TypeVar("T")


class RunDecoder(Protocol):
    """What decodes one run after the other; any thread may use it, one at a time.

    now: in the present run, the latest presentation time that has come out, ticks.
    """

    now: int

    def read(self, run: PacketRun) -> Iterator[VideoFrame]:
        """The frames of the run's targets, in order and all of them, or an error."""
        ...

    def close(self) -> None: ...


class _Course(Generic[T]):
    """A run under way. frames: decoded, not yet images, with their places among the targets. certain: how many of the
    targets nothing can spoil any more. taken: by the consumer. at_work: jobs in hand."""

    def __init__(self, run: PacketRun, lane: RunDecoder, settled: Ticks) -> None:
        self.run, self.lane = run, lane
        self.decoding = lane.read(run)
        self._settled = [int(settled[target.index]) for target in run.targets]
        self.frames: deque[tuple[int, VideoFrame]] = deque()
        self.images: dict[int, T] = {}
        self.decoded = self.certain = self.taken = self.at_work = 0
        self.is_decoding = self.has_ended = False
        self.failure: BaseException | None = None

    @property
    def is_quiet(self) -> bool:
        """Whether nothing more comes."""
        return self.failure is not None and not self.at_work and not self.frames

    def came(self, frame: VideoFrame | None) -> None:
        """Notes the frame of the next target, or that there is none left."""
        if frame is None:
            self.has_ended, self.certain = True, self.decoded
            return
        self.frames.append((self.decoded, frame))
        self.decoded += 1
        while self.certain < self.decoded and (
            self.lane.now >= self._settled[self.certain] or self.decoded - self.certain > MAX_REORDERED
        ):
            self.certain += 1


class GopPool(Generic[T]):
    """Threads that share the work on the runs: as many runs at a time as there are lanes.

    window: images that may wait for the consumer. All that is shared is guarded by one condition.
    """

    def __init__(
        self,
        runs: Sequence[PacketRun],
        lanes: Sequence[RunDecoder],
        threads: int,
        finish: Callable[[VideoFrame], T],
        *,
        settled: Ticks,
        window: int,
    ) -> None:
        self._finish, self._threads = finish, threads
        self._settled, self._window = settled, window
        self._lanes, self._free = lanes, list(lanes)
        self._to_begin = deque(runs)
        self._courses: deque[_Course[T]] = deque()
        self._changed = threading.Condition()
        self._is_over = False

    def results(self) -> Generator[tuple[Target, T]]:
        """What became of the targets, in order; raises what a lane or `finish` raised, after all that is certain."""
        crew = [threading.Thread(target=self._work, daemon=True) for _ in range(self._threads)]
        try:
            for thread in crew:
                thread.start()
            while (course := self._first_course()) is not None:
                for place, target in enumerate(course.run.targets):
                    yield target, self._await(course, place)
                self._leave(course)
        finally:
            with self._changed:
                self._is_over = True
                self._changed.notify_all()
            for thread in crew:
                thread.join()
            for lane in self._lanes:
                lane.close()

    def _first_course(self) -> _Course[T] | None:
        with self._changed:
            self._changed.wait_for(lambda: self._courses or not self._to_begin)
            return self._courses[0] if self._courses else None

    def _leave(self, course: _Course[T]) -> None:
        """Waits until its lane is free for the next run."""
        with self._changed:
            self._changed.wait_for(lambda: course.has_ended or course.is_quiet)
            if course.failure is not None:
                raise course.failure
            self._courses.popleft()
            self._changed.notify_all()

    def _await(self, course: _Course[T], place: int) -> T:
        with self._changed:
            self._changed.wait_for(lambda: (place in course.images and place < course.certain) or course.is_quiet)
            if place not in course.images or place >= course.certain:
                assert course.failure is not None
                raise course.failure
            course.taken += 1
            self._changed.notify_all()
            return course.images.pop(place)

    def _work(self) -> None:
        while self._work_once():
            pass

    def _work_once(self) -> bool:
        """Waits for a job and does it; False when there will be none. A frame is let go when it returns."""
        job = self._next_job()
        if job is None:
            return False
        course, item = job
        try:
            if item is None:
                self._decode_on(course)
            else:
                self._make_image(course, *item)
        except BaseException as error:  # noqa: BLE001  raised again where the results are taken
            course.failure = course.failure or error
        with self._changed:
            course.at_work -= 1
            course.is_decoding = course.is_decoding and item is not None
            self._changed.notify_all()
        return True

    def _make_image(self, course: _Course[T], place: int, frame: VideoFrame) -> None:
        image = self._finish(frame)
        with self._changed:
            course.images[place] = image

    def _decode_on(self, course: _Course[T]) -> None:
        """Up to the next target's frame, or to the end."""
        frame = next(course.decoding, None)
        with self._changed:
            course.came(frame)
            if course.has_ended:
                self._free.append(course.lane)

    def _next_job(self) -> tuple[_Course[T], tuple[int, VideoFrame] | None] | None:
        with self._changed:
            while not self._is_over:
                course = next((one for one in self._courses if one.frames), None)
                if course is not None:
                    course.at_work += 1
                    return course, course.frames.popleft()
                course = self._to_decode()
                if course is not None:
                    course.at_work, course.is_decoding = course.at_work + 1, True
                    return course, None
                self._changed.wait()
            return None

    def _to_decode(self) -> _Course[T] | None:
        """The run to decode on: the first that may be, or a new one."""
        held = sum(course.decoded - course.taken for course in self._courses)
        for course in self._courses:
            idle = not (course.is_decoding or course.has_ended or course.failure)
            ahead = course.certain - course.taken if course is self._courses[0] else held
            if idle and ahead < self._window and len(course.frames) < BACKLOG:
                return course
        if self._to_begin and self._free and held < self._window:
            self._courses.append(_Course(self._to_begin.popleft(), self._free.pop(), self._settled))
            return self._courses[-1]
        return None
