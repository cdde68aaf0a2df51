"""`docs/errors.md`, made of the catalogue: `uv run python -m serve_app.openapi.error_docs > docs/errors.md`."""

from __future__ import annotations

from db.values.error_catalogue import CATALOGUE
from serve_app.http.problem_details import STATUS

_INTRO = """# Error codes

Every error is `application/problem+json` (RFC 9457) with one of these as its `code`; a code keeps its meaning. Those of
an extraction stand in the `error` of one that failed, never in an answer's status. `fault` tells who can mend it:
`request`, who asked; `file`, who made the video; `service`, the operator, or time. A problem has the title in `title`,
what to do in `remedy`, and the facts of the case in `detail`.
"""


def page() -> str:
    """The whole document, in Markdown."""
    return f"{_INTRO}\n{table()}"


def table() -> str:
    """A row for each code, in the catalogue's order, in Markdown."""
    rows = [
        ("code", "HTTP status", "fault", "title", "what to do"),
        ("---",) * 5,
        *(
            (f"`{code}`", str(STATUS.get(code, "of an extraction")), entry.fault.value, entry.en.title, entry.en.remedy)
            for code, entry in CATALOGUE.items()
        ),
    ]
    return "".join(f"| {' | '.join(row)} |\n" for row in rows)


if __name__ == "__main__":
    print(page(), end="")
