"""The benchmark of the start reads the output of `fotograma up`."""

from __future__ import annotations

from benchmarks.start import Start, start_rows, steps_of
from cluster.local.supervision.event_messages import progress_line, step_line


def test_steps_and_their_seconds_are_read_from_the_output() -> None:
    lines = [
        "Fotograma starts with 2 workers; its home is /home/ana/.fotograma",
        step_line("PostgreSQL", 0.4),
        step_line("Workers, maintenance", 12.25),
        progress_line(["Ray"], 3),
        "Ready after 14.1 s: http://127.0.0.1:8000/",
        step_line("Ray's dashboard", 2.0),
        "  Page       http://127.0.0.1:8000/",
    ]
    assert steps_of(lines) == {"PostgreSQL": 0.4, "Workers, maintenance": 12.2, "Ray's dashboard": 2.0}


def test_each_step_has_the_median_of_its_rounds_and_ready_comes_last() -> None:
    starts = [Start(12.0, {"Ray": 3.0, "API": 6.0}), Start(14.0, {"Ray": 5.0, "API": 6.5}), Start(11.0, {"Ray": 4.0})]
    rows = {row.name: row.value for row in start_rows("up/fresh", starts)}
    assert rows == {"up/fresh/Ray": 4.0, "up/fresh/ready": 12.0}


def test_row_keeps_the_seconds_of_each_round() -> None:
    (row,) = start_rows("up/existing", [Start(12.3456, {}), Start(11.0, {})])
    assert row.rounds == (12.346, 11.0)
