"""What `extract` of both clients shares: the arguments, and the display around the flow."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from contextlib import contextmanager

from cluster.client.authorized_requests import Session
from cluster.client.batch.extract_sources import extract_sources
from cluster.client.batch.outcome import ExtractOutcome, ExtractProgress, OnExtractProgress
from cluster.client.batch.sources import Source, named_sources
from cluster.client.effects import Flow
from cluster.client.extraction_spec import Spec, spec_text


@contextmanager
def extract_call(
    session: Session,
    sources: Source | Iterable[Source],
    spec: Spec | None,
    progress: bool,
    on_progress: OnExtractProgress | None,
) -> Iterator[Flow[list[ExtractOutcome]]]:
    """Gives the flow of one call. Inside the block its progress is shown. Raises InvalidArgument, InvalidSpec."""
    named = named_sources(sources)
    text = None if spec is None else spec_text(spec)
    if not progress:
        yield extract_sources(session, named, text, on_progress)
        return
    from cluster.client.batch.progress_bars import display_for  # noqa: PLC0415 - rich takes long to import

    with display_for(len(named)) as display:

        def show(step: ExtractProgress) -> None:
            display.show(step)
            if on_progress is not None:
                on_progress(step)

        yield extract_sources(session, named, text, show)
