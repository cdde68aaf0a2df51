"""The extraction engine as a library: it decodes in this process, without a server.

For videos from people you don't trust use the service or `fotograma extract --local`, which decode in a sandbox. Here a
file that makes native code crash ends your program.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Literal

from actors.extraction_types import EngineOptions, Extracted, Planned, Progress, ProgressEvent, Reader
from cluster.client.errors import FotogramaError, local_file_error
from cluster.client.extraction_spec import Spec, spec_text
from cluster.installed_engine import check_engine
from db.values import error_catalogue
from db.values.frame_spec import FrameSpec, parse

AnyPath = str | os.PathLike[str]
OnProgress = Callable[[int, int | None], None]
"""Called with the number of images that are written, and of all that will be: None until that is known."""


class EngineError(FotogramaError):
    """The engine can't extract these frames.

    code: stable, see docs/reference/errors.md. fault: "request" or "file". detail: the facts. remedy: what to do.
    """

    def __init__(self, *, code: str, detail: str, fault: str, remedy: str) -> None:
        super().__init__(f"{detail} ({code})", code=code, fault=fault, remedy=remedy)
        self.detail = detail


def extract(
    source: AnyPath,
    spec: Spec | None = None,
    out: AnyPath | None = None,
    *,
    threads: int | None = None,
    reader: Literal["auto", "pyav", "decord", "gpu"] = "auto",
    on_progress: OnProgress | None = None,
) -> Extracted:
    """Writes frames.zip, manifest.json, manifest.csv, sheet.jpg, sheet.vtt and report.json into the folder `out`.

    spec: an ExtractionSpec, the same as a dict, or its JSON text; None: one frame a second. out: made if missing; None:
    `frames/<stem of the file's name>`. threads: None: one for each core. reader: "gpu" decodes with decord on the GPU.
    Neither threads nor `reader` changes which frames are given.
    Raises EngineError; PackageMissing when the engine is not installed; LocalFileError, an OSError, when `source`
    can't be read or `out` can't be written; InvalidSpec for a specification that JSON can't hold.
    """
    folder = Path("frames", Path(source).stem) if out is None else out
    (extracted,) = extract_many(source, [(spec, folder)], threads=threads, reader=reader, on_progress=on_progress)
    return extracted


def extract_many(
    source: AnyPath,
    requests: Sequence[tuple[Spec | None, AnyPath]],
    *,
    threads: int | None = None,
    reader: Literal["auto", "pyav", "decord", "gpu"] = "auto",
    on_progress: OnProgress | None = None,
) -> list[Extracted]:
    """Extracts by several specifications from one video, which is decoded once.

    requests: each specification with the folder of its result, which gets what `extract` alone would write there. When
    one of them fails, all fail: its error is raised. `on_progress` counts the images of all of them.
    """
    check_engine()
    # Imported late, so that the rest of this module works without the libraries that decode.
    from actors.engine import extract  # noqa: PLC0415
    from actors.readers.gpu_probe import probe_gpu  # noqa: PLC0415

    cores = len(os.sched_getaffinity(0))
    gpu = probe_gpu().decoder if reader == "gpu" else None
    options = EngineOptions(Reader(reader), threads=cores if threads is None else threads, gpu=gpu)
    with _explained_errors():
        parsed = [(_parse(spec), Path(out)) for spec, out in requests]
        for _, out in parsed:
            out.mkdir(parents=True, exist_ok=True)
        return extract.extract_many(Path(source), parsed, options=options, on_progress=_event_callback(on_progress))


def _parse(spec: Spec | None) -> FrameSpec:
    return parse("{}" if spec is None else spec_text(spec))


def _event_callback(on_progress: OnProgress | None) -> Callable[[ProgressEvent], None]:
    """Returns a callback for the engine's events that calls `on_progress` with their numbers."""
    total: int | None = None

    def on_event(event: ProgressEvent) -> None:
        nonlocal total
        if on_progress is None:
            return
        if isinstance(event, Planned):
            total = event.frames_total
        on_progress(event.frames_done if isinstance(event, Progress) else 0, total)

    return on_event


@contextmanager
def _explained_errors() -> Iterator[None]:
    """Raises the engine's errors as EngineError, and those of files as LocalFileError."""
    try:
        yield
    except OSError as error:
        raise local_file_error(error) from error
    except error_catalogue.CatalogueError as error:
        raise EngineError(code=error.code, detail=error.detail, fault=error.fault.value, remedy=error.remedy) from error
