"""The programs that are compared at one job: some frames of a video as JPEGs of equal quality in `frames.zip`.

Each is a fresh process tree on the same cores, measured from its start, imports included.
"""

from __future__ import annotations

import json
import os
import re
import shutil
import subprocess
import sys
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import lru_cache
from importlib.util import find_spec
from pathlib import Path
from typing import IO, TypedDict

from actors.extraction_types import EngineOptions, Reader
from actors.sandbox.child_process import ENVIRONMENT
from actors.sandbox.child_protocol import HEADER, Job, Limits, encode_job
from benchmarks.extract.clips import Clip
from benchmarks.extract.scenarios import Scenario, image_size, middles
from benchmarks.process_measurement import Usage, usage_of
from db.values.frame_spec import AllFrames, Fps, FrameSpec, Image, Keyframes, Uniform, canonical

OURS = "fotograma"
BASELINE = "ffmpeg + zip"
LIMIT = "bare decode"
JPEG_QUALITY = 90
"""Of all but ffmpeg, whose own is chosen by benchmarks.extract.calibration."""
LIMIT_SECONDS = 300.0
CHILD_LIMITS = Limits(
    address_space_bytes=8 << 30,
    cpu_seconds=3_600,
    file_bytes=8 << 30,
    probe_seconds=LIMIT_SECONDS,
    seconds_max=LIMIT_SECONDS,
)


@dataclass(frozen=True, slots=True)
class Task:
    """What a contestant does. archive: to be made, in a folder of its own. ffmpeg_quality: its `-q:v`. threads: for
    those that ask."""

    source: Path
    archive: Path
    scenario: Scenario
    clip: Clip
    ffmpeg_quality: int
    threads: int


@dataclass(frozen=True, slots=True)
class Contestant:
    """run: does the task. every_round: the main ones; the others run in every second round.

    missing: why it can't do this scenario here, or an empty text. images: whether it makes any.
    """

    name: str
    run: Callable[[Task], Usage]
    missing: Callable[[Scenario], str] = lambda scenario: ""
    every_round: bool = False
    images: bool = True


class PeerJob(TypedDict):
    """What a script of benchmarks/extract/peers is told. mode: fps (1 a second), all, keyframes or times (seconds).

    size: pixels (width, height) to reduce to.
    """

    source: str
    archive: str
    mode: str
    times: list[float]
    size: tuple[int, int] | None
    quality: int
    threads: int


def contestants() -> list[Contestant]:
    return [
        Contestant(OURS, lambda task: engine(task, Reader.AUTO), every_round=True),
        Contestant(BASELINE, ffmpeg, _ffmpeg_missing, every_round=True),
        Contestant(LIMIT, bare_decode, _ffmpeg_missing, every_round=True, images=False),
        Contestant(f"{OURS}, decord", lambda task: engine(task, Reader.DECORD)),
        Contestant("OpenCV", lambda task: peer("opencv_imwrite", task), _opencv_missing),
        Contestant("decord + Pillow", lambda task: peer("decord_pillow", task), _module_missing("decord")),
        Contestant("PyAV + Pillow", lambda task: peer("pyav_pillow", task), _module_missing("PIL")),
    ]


def engine(task: Task, reader: Reader) -> Usage:
    """This engine, in the decoding child of a worker."""
    scenario = task.scenario
    spec = FrameSpec(sample=scenario.sample, image=Image(quality=JPEG_QUALITY, max_side=scenario.max_side))
    options = EngineOptions(reader=reader, threads=task.threads)
    job = Job(task.source.resolve(), canonical(spec), task.archive.parent.resolve(), options, CHILD_LIMITS)
    return child(encode_job(job), makes=task.archive)


def child(told: bytes, *, makes: Path | None) -> Usage:
    """A decoding child that is told a job once it is ready, as a worker does; or nothing: then it ends after its
    imports, and these are measured."""
    return usage_of(
        [sys.executable, "-I", "-m", "actors.sandbox.child_entry", str(os.getpid())],
        makes=makes,
        limit_seconds=LIMIT_SECONDS,
        told=told,
        environment=ENVIRONMENT,
        ready=_until_ready if told else None,
    )


def _until_ready(answers: IO[bytes]) -> None:
    (length,) = HEADER.unpack(answers.read(HEADER.size))
    answers.read(length)


def ffmpeg(task: Task) -> Usage:
    """The command line that people use, then a stored zip of its images."""
    images = task.archive.parent / "images"
    images.mkdir()
    quality = ["-q:v", str(task.ffmpeg_quality), "-qmin", "1"]
    if isinstance(task.scenario.sample, Uniform):
        usage = _each_time(task, lambda n: [*quality, str(images / f"{n:06d}.jpg")])
    else:
        usage = _run([*_reading(task), *_picking(task.scenario, task.clip), *quality, str(images / "%06d.jpg")])
    return usage.then(usage_of(_zip_command(images, task.archive), makes=task.archive, limit_seconds=LIMIT_SECONDS))


def bare_decode(task: Task) -> Usage:
    """ffmpeg's decoder alone on what the command line above would have it decode: no picking, no images, no zip."""
    if isinstance(task.scenario.sample, Uniform):
        return _each_time(task, lambda n: ["-f", "null", "-"])
    return _run([*_reading(task), "-fps_mode", "passthrough", "-f", "null", "-"])


def peer(script: str, task: Task) -> Usage:
    """A script of benchmarks/extract/peers."""
    sample, full_size = task.scenario.sample, task.scenario.max_side is None
    job = PeerJob(
        source=str(task.source),
        archive=str(task.archive),
        mode=_mode(task.scenario),
        times=[float(time) for time in middles(sample.count, task.clip)] if isinstance(sample, Uniform) else [],
        size=None if full_size else image_size(task.scenario, task.clip),
        quality=JPEG_QUALITY,
        threads=task.threads,
    )
    path = Path(__file__).with_name("peers") / f"{script}.py"
    return usage_of([sys.executable, "-I", str(path), json.dumps(job)], makes=task.archive, limit_seconds=LIMIT_SECONDS)


def _mode(scenario: Scenario) -> str:
    names = {Fps: "fps", AllFrames: "all", Keyframes: "keyframes", Uniform: "times"}
    return names[type(scenario.sample)]


def _reading(task: Task) -> list[str]:
    keys = ["-skip_frame", "nokey"] if isinstance(task.scenario.sample, Keyframes) else []
    return ["ffmpeg", "-nostdin", "-v", "error", *keys, "-i", str(task.source)]


def _picking(scenario: Scenario, clip: Clip) -> list[str]:
    filters = ["fps=1"] if isinstance(scenario.sample, Fps) else []
    if scenario.max_side:
        filters.append("scale={}:{}".format(*image_size(scenario, clip)))
    passing = [] if isinstance(scenario.sample, Fps) else ["-fps_mode", "passthrough"]
    return [*(["-vf", ",".join(filters)] if filters else []), *passing]


def _each_time(task: Task, output: Callable[[int], Sequence[str]]) -> Usage:
    """One command for each time, which goes to the key frame before it and decodes from there."""
    assert isinstance(task.scenario.sample, Uniform)
    total: Usage | None = None
    for n, time in enumerate(middles(task.scenario.sample.count, task.clip), start=1):
        command = ["ffmpeg", "-nostdin", "-v", "error", "-ss", str(float(time)), "-i", str(task.source)]
        usage = _run([*command, "-frames:v", "1", *output(n)])
        total = total.then(usage) if total else usage
    assert total
    return total


def _run(command: Sequence[str]) -> Usage:
    return usage_of(command, makes=None, limit_seconds=LIMIT_SECONDS)


def _zip_command(images: Path, archive: Path) -> list[str]:
    if shutil.which("zip"):
        return ["zip", "-0", "-q", "-r", "-j", str(archive), str(images)]
    program = (
        "import sys, pathlib, zipfile\n"
        "with zipfile.ZipFile(sys.argv[2], 'w') as archive:\n"
        "    for path in sorted(pathlib.Path(sys.argv[1]).iterdir()):\n"
        "        archive.write(path, path.name)\n"
    )
    return [sys.executable, "-I", "-S", "-c", program, str(images), str(archive)]


@lru_cache(maxsize=1)
def ffmpeg_problem() -> str:
    if not shutil.which("ffmpeg"):
        return "there is no ffmpeg on the PATH"
    told = subprocess.run(["ffmpeg", "-version"], capture_output=True, text=True, check=False).stdout
    version = re.match(r"ffmpeg version n?(\d+)\.(\d+)", told)
    # Versions without a number are builds of a later day.
    too_old = version is not None and (int(version[1]), int(version[2])) < (5, 1)
    return f"ffmpeg {version[1]}.{version[2]} has no -fps_mode; 5.1 has" if version and too_old else ""


def _ffmpeg_missing(scenario: Scenario) -> str:
    return ffmpeg_problem()


def _module_missing(name: str) -> Callable[[Scenario], str]:
    return lambda scenario: "" if find_spec(name) else f"there is no module {name}"


def _opencv_missing(scenario: Scenario) -> str:
    if isinstance(scenario.sample, Keyframes):
        return "cv2.VideoCapture can't tell key frames"
    return _module_missing("cv2")(scenario)
