"""How the replicas write their log: structured events, one JSON object a line."""

from __future__ import annotations

import logging

import structlog

JSON_LINES: tuple[structlog.typing.Processor, ...] = (
    structlog.contextvars.merge_contextvars,
    structlog.processors.add_log_level,
    structlog.processors.TimeStamper(fmt="iso"),
    # Without the frames' variables: passwords and tokens are among them.
    structlog.processors.ExceptionRenderer(structlog.tracebacks.ExceptionDictTransformer(show_locals=False)),
    structlog.processors.EventRenamer("message", "event_name"),
    structlog.processors.JSONRenderer(),
)
"""What makes an event a line of the log."""


def log_as_json() -> None:
    """Configures structlog for this process."""
    structlog.configure(
        processors=JSON_LINES,
        wrapper_class=structlog.make_filtering_bound_logger(logging.INFO),
        cache_logger_on_first_use=True,
    )
