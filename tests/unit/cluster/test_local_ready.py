"""When `fotograma up` counts as ready."""

from __future__ import annotations

import httpx
import pytest

from cluster.local.one_machine_service import is_ready

FINE = {"database": "ok", "migrations": "ok", "objects": "ok", "storage": "ok", "cache": "ok"}


@pytest.mark.parametrize(
    ("answer", "ready"),
    [
        (httpx.Response(200, json={"status": "ready", "parts": FINE}), True),
        (httpx.Response(503, json={"parts": FINE | {"storage": "full"}}), True),
        (httpx.Response(503, json={"parts": FINE | {"storage": "full", "cache": "away"}}), True),
        (httpx.Response(503, json={"parts": FINE | {"storage": "full", "database": "away"}}), False),
        (httpx.Response(503, json={"parts": FINE | {"objects": "away"}}), False),
        (httpx.Response(503, json={"parts": None}), False),
        (httpx.Response(503, text="starting"), False),
        (httpx.Response(404, text="no route"), False),
    ],
)
def test_a_full_disk_keeps_nobody_from_what_is_there(answer: httpx.Response, ready: bool) -> None:
    assert is_ready(answer) is ready
