"""`docs/reference/errors.md`, made of the catalogue of errors."""

from __future__ import annotations

from db.values.error_catalogue import CATALOGUE
from serve_app.http.problem_details import HTTP_STATUS

_INTRO = """# Error codes

Every error is `application/problem+json` (RFC 9457). Its `code` is one of these; a code keeps its meaning. It has the
title in `title`, what to do in `remedy`, and the facts of the case in `detail`. `fault` says who can help:
`request`, the client; `file`, the author of the video; `service`, the operator, or time.

A code "of an extraction" is never the status of an answer. It is in the `error` of a failed extraction.
"""


def errors_page() -> str:
    """The whole page, in Markdown."""
    return f"{_INTRO}\n{table()}"


def table() -> str:
    """One row for each code, in the order of the catalogue, in Markdown."""
    rows = [
        ("code", "HTTP status", "fault", "title", "what to do"),
        ("---",) * 5,
        *(
            (
                f"`{code}`",
                str(HTTP_STATUS.get(code, "of an extraction")),
                entry.fault.value,
                entry.en.title,
                entry.en.remedy,
            )
            for code, entry in CATALOGUE.items()
        ),
    ]
    return "".join(f"| {' | '.join(row)} |\n" for row in rows)
