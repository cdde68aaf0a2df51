"""The compared programs. Each writes some frames of a video as JPEGs of equal quality into `frames.zip`.

Each runs in a new process tree on the same cores and is measured from its start, imports included.
"""

from __future__ import annotations

import json
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

from actors.extraction_types import PREVIEW_SECONDS, EngineOptions, Reader
from actors.sandbox.child_protocol import HEADER, Job, Limits, encode_job
from actors.sandbox.fork_server import CHILD_ENVIRONMENT
from benchmarks.extract.clips import Clip
from benchmarks.extract.scenarios import Scenario, image_size, middle_times
from benchmarks.process_measurement import Usage, measure_command
from db.values.frame_spec import AllFrames, Fps, FrameSpec, Image, Keyframes, Uniform, canonical

ENGINE = "fotograma"
BASELINE = "ffmpeg + zip"
BARE_DECODE = "bare decode"
JPEG_QUALITY = 90
"""The quality of all programs but ffmpeg; benchmarks.extract.ffmpeg_quality_calibration chooses that of ffmpeg."""
MAX_SECONDS = 300.0
CHILD_PROGRAM = """
import os
from actors.sandbox.process_hardening import isolate
isolate()
from actors.sandbox import run_child_job
run_child_job.main()
os._exit(0)
"""
"""A decoding child that does its imports itself: forked, it would not show what they cost."""
CHILD_LIMITS = Limits(
    address_space_bytes=8 << 30,
    cpu_seconds=3_600,
    file_bytes=8 << 30,
    probe_seconds=MAX_SECONDS,
    seconds_max=MAX_SECONDS,
)


@dataclass(frozen=True, slots=True)
class ProgramRun:
    """One run of a program. archive: the file to write, in a folder of its own. ffmpeg_quality: its `-q:v`. threads:
    decoder threads, for programs that have this setting."""

    source: Path
    archive: Path
    scenario: Scenario
    clip: Clip
    ffmpeg_quality: int
    threads: int


@dataclass(frozen=True, slots=True)
class Program:
    """unavailable: why it can't run a scenario on this machine; empty when it can. every_round: runs in each round; the
    other programs run in every second one.
    """

    name: str
    run: Callable[[ProgramRun], Usage]
    unavailable: Callable[[Scenario], str] = lambda scenario: ""
    every_round: bool = False
    makes_images: bool = True


class PeerJob(TypedDict):
    """The input of a script in benchmarks/extract/peers. mode: fps (1 a second), all, keyframes or times (seconds).

    size: of the images, pixels (width, height).
    """

    source: str
    archive: str
    mode: str
    times: list[float]
    size: tuple[int, int] | None
    quality: int
    threads: int


def programs() -> list[Program]:
    return [
        Program(ENGINE, lambda run: run_engine(run, Reader.AUTO), every_round=True),
        Program(BASELINE, run_ffmpeg, _ffmpeg_unavailable, every_round=True),
        Program(BARE_DECODE, run_bare_decode, _ffmpeg_unavailable, every_round=True, makes_images=False),
        Program(f"{ENGINE}, decord", lambda run: run_engine(run, Reader.DECORD)),
        Program("OpenCV", lambda run: run_peer("opencv_imwrite", run), _opencv_unavailable),
        Program("decord + Pillow", lambda run: run_peer("decord_pillow", run), _module_unavailable("decord")),
        Program("PyAV + Pillow", lambda run: run_peer("pyav_pillow", run), _module_unavailable("PIL")),
    ]


def run_engine(run: ProgramRun, reader: Reader) -> Usage:
    """Runs this engine in a decoding child, as a worker does."""
    scenario = run.scenario
    spec = FrameSpec(sample=scenario.sample, image=Image(quality=JPEG_QUALITY, max_side=scenario.max_side))
    options = EngineOptions(reader=reader, threads=run.threads, preview_seconds=PREVIEW_SECONDS)
    job = Job(run.source.resolve(), canonical(spec), run.archive.parent.resolve(), options, CHILD_LIMITS)
    return measure_child(encode_job(job), output=run.archive)


def measure_child(message: bytes, *, output: Path | None) -> Usage:
    """Measures a decoding child that gets its job when it is ready, as from a worker. An empty message measures only
    its start: it ends after its imports."""
    return measure_command(
        [sys.executable, "-I", "-c", CHILD_PROGRAM],
        output=output,
        limit_seconds=MAX_SECONDS,
        stdin=message,
        environment=CHILD_ENVIRONMENT,
        ready=_wait_until_ready if message else None,
    )


def _wait_until_ready(output: IO[bytes]) -> None:
    (length,) = HEADER.unpack(output.read(HEADER.size))
    output.read(length)


def run_ffmpeg(run: ProgramRun) -> Usage:
    """Runs the usual command line, then writes a stored zip of its images."""
    images = run.archive.parent / "images"
    images.mkdir()
    quality = ["-q:v", str(run.ffmpeg_quality), "-qmin", "1"]
    if isinstance(run.scenario.sample, Uniform):
        usage = _run_for_each_time(run, lambda n: [*quality, str(images / f"{n:06d}.jpg")])
    else:
        usage = _run(
            [
                *_input_arguments(run),
                *_selection_arguments(run.scenario, run.clip),
                *quality,
                str(images / "%06d.jpg"),
            ]
        )
    return usage.followed_by(
        measure_command(_zip_command(images, run.archive), output=run.archive, limit_seconds=MAX_SECONDS)
    )


def run_bare_decode(run: ProgramRun) -> Usage:
    """Runs only ffmpeg's decoder on the same input: no selection, no images, no zip."""
    if isinstance(run.scenario.sample, Uniform):
        return _run_for_each_time(run, lambda n: ["-f", "null", "-"])
    return _run([*_input_arguments(run), "-fps_mode", "passthrough", "-f", "null", "-"])


def run_peer(script: str, run: ProgramRun) -> Usage:
    """Runs a script of benchmarks/extract/peers."""
    sample, full_size = run.scenario.sample, run.scenario.max_side is None
    job = PeerJob(
        source=str(run.source),
        archive=str(run.archive),
        mode=_mode(run.scenario),
        times=[float(time) for time in middle_times(sample.count, run.clip)] if isinstance(sample, Uniform) else [],
        size=None if full_size else image_size(run.scenario, run.clip),
        quality=JPEG_QUALITY,
        threads=run.threads,
    )
    path = Path(__file__).with_name("peers") / f"{script}.py"
    return measure_command(
        [sys.executable, "-I", str(path), json.dumps(job)], output=run.archive, limit_seconds=MAX_SECONDS
    )


def _mode(scenario: Scenario) -> str:
    names = {Fps: "fps", AllFrames: "all", Keyframes: "keyframes", Uniform: "times"}
    return names[type(scenario.sample)]


def _input_arguments(run: ProgramRun) -> list[str]:
    keys = ["-skip_frame", "nokey"] if isinstance(run.scenario.sample, Keyframes) else []
    return ["ffmpeg", "-nostdin", "-v", "error", *keys, "-i", str(run.source)]


def _selection_arguments(scenario: Scenario, clip: Clip) -> list[str]:
    filters = ["fps=1"] if isinstance(scenario.sample, Fps) else []
    if scenario.max_side:
        filters.append("scale={}:{}".format(*image_size(scenario, clip)))
    frame_timing = [] if isinstance(scenario.sample, Fps) else ["-fps_mode", "passthrough"]
    return [*(["-vf", ",".join(filters)] if filters else []), *frame_timing]


def _run_for_each_time(run: ProgramRun, output: Callable[[int], Sequence[str]]) -> Usage:
    """Runs one command for each time: it seeks to the key frame before the time and decodes from there."""
    assert isinstance(run.scenario.sample, Uniform)
    total: Usage | None = None
    for n, time in enumerate(middle_times(run.scenario.sample.count, run.clip), start=1):
        command = ["ffmpeg", "-nostdin", "-v", "error", "-ss", str(float(time)), "-i", str(run.source)]
        usage = _run([*command, "-frames:v", "1", *output(n)])
        total = total.followed_by(usage) if total else usage
    assert total
    return total


def _run(command: Sequence[str]) -> Usage:
    return measure_command(command, output=None, limit_seconds=MAX_SECONDS)


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
    output = subprocess.run(["ffmpeg", "-version"], capture_output=True, text=True, check=False).stdout
    version = re.match(r"ffmpeg version n?(\d+)\.(\d+)", output)
    # Versions without a number are newer builds.
    too_old = version is not None and (int(version[1]), int(version[2])) < (5, 1)
    return f"ffmpeg {version[1]}.{version[2]} has no -fps_mode; 5.1 has" if version and too_old else ""


def _ffmpeg_unavailable(scenario: Scenario) -> str:
    return ffmpeg_problem()


def _module_unavailable(name: str) -> Callable[[Scenario], str]:
    return lambda scenario: "" if find_spec(name) else f"there is no module {name}"


def _opencv_unavailable(scenario: Scenario) -> str:
    if isinstance(scenario.sample, Keyframes):
        return "cv2.VideoCapture does not know key frames"
    return _module_unavailable("cv2")(scenario)
