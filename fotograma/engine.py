"""The engine for a program of one's own: in this process, without a server.

A video that comes from somebody else belongs into the sandbox of the service or of `fotograma extract --local`: here a
file that makes native code crash ends the program.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Literal

from actors.extraction_types import EngineOptions, Extracted, Planned, Progress, ProgressEvent, Reader
from cluster.client.errors import FotogramaError
from cluster.client.extraction_spec import Spec, spec_text
from db.values import error_catalogue
from db.values.frame_spec import FrameSpec, parse

AnyPath = str | os.PathLike[str]
OnProgress = Callable[[int, int | None], None]
"""Is told how many images are made, and how many there will be: None until that is known."""


class EngineError(FotogramaError):
    """The engine can't do what was asked.

    code: stable, see docs/errors.md. fault: "request" or "file". detail: the facts. remedy: what to do.
    """

    def __init__(self, *, code: str, detail: str, fault: str, remedy: str) -> None:
        super().__init__(f"{detail} ({code})")
        self.code, self.detail, self.fault, self.remedy = code, detail, fault, remedy


def extract(
    source: AnyPath,
    spec: Spec | None = None,
    out: AnyPath | None = None,
    *,
    threads: int | None = None,
    reader: Literal["auto", "pyav", "decord"] = "auto",
    on_progress: OnProgress | None = None,
) -> Extracted:
    """Writes frames.zip, manifest.json, manifest.csv, sheet.jpg, sheet.vtt and report.json into the folder `out`.

    spec: an ExtractionSpec, the same as a dict, or its JSON text; None: one frame a second. out: made if missing; None:
    `frames/<stem of the file's name>`. threads: None: one for each core. Neither threads nor `reader` changes a frame.
    Raises EngineError; FotogramaError when the engine is not installed; OSError when `source` can't be read or `out`
    can't be written; ValueError or TypeError for a specification that JSON can't hold.
    """
    folder = Path("frames", Path(source).stem) if out is None else out
    (extracted,) = extract_many(source, [(spec, folder)], threads=threads, reader=reader, on_progress=on_progress)
    return extracted


def extract_many(
    source: AnyPath,
    wanted: Sequence[tuple[Spec | None, AnyPath]],
    *,
    threads: int | None = None,
    reader: Literal["auto", "pyav", "decord"] = "auto",
    on_progress: OnProgress | None = None,
) -> list[Extracted]:
    """Several specifications, each with its folder, over one video that is decoded once.

    Each folder gets what `extract` alone would write. All or nothing: raises the first error that one of them has.
    `on_progress` is told of the images of all together.
    """
    # Only now: the errors and the type of a specification are there without the libraries that decode.
    from cluster.cli.extract_local_command import check_engine  # noqa: PLC0415

    check_engine()
    from actors.engine import extract  # noqa: PLC0415

    cores = len(os.sched_getaffinity(0))
    options = EngineOptions(Reader(reader), threads=cores if threads is None else threads)
    with _catalogue_errors():
        orders = [(_parsed(spec), Path(out)) for spec, out in wanted]
        for _, out in orders:
            out.mkdir(parents=True, exist_ok=True)
        return extract.extract_many(Path(source), orders, options=options, on_progress=_told(on_progress))


def _parsed(spec: Spec | None) -> FrameSpec:
    return parse("{}" if spec is None else spec_text(spec))


def _told(on_progress: OnProgress | None) -> Callable[[ProgressEvent], None]:
    """What the engine tells its news to."""
    total: int | None = None

    def tell(news: ProgressEvent) -> None:
        nonlocal total
        if on_progress is None:
            return
        if isinstance(news, Planned):
            total = news.frames_total
        on_progress(news.frames_done if isinstance(news, Progress) else 0, total)

    return tell


@contextmanager
def _catalogue_errors() -> Iterator[None]:
    """As the one family of errors that programs catch."""
    try:
        yield
    except error_catalogue.CatalogueError as error:
        raise EngineError(code=error.code, detail=error.detail, fault=error.fault.value, remedy=error.remedy) from error
