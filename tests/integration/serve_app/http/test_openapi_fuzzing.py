"""Schemathesis finds no answer of the real application that its OpenAPI document does not describe.

The account has results, so that downloads are fuzzed too, and each operation must succeed at least once. It takes 20
minutes, so it runs by this command only:

    FOTOGRAMA_SUITE=full uv run pytest tests/integration/serve_app/http/test_openapi_fuzzing.py

FOTOGRAMA_FUZZ_SECONDS is another duration. All operations are reached from two minutes on.
"""

from __future__ import annotations

import asyncio
import json
import os
import re
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cache
from pathlib import Path
from typing import Any

import httpx
import pytest
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from serve_app.app import create_app
from serve_app.deps import Deps
from serve_app.openapi.openapi_document import OPERATIONS
from tests.support.clients import tus_client
from tests.support.clients.api_client import (
    MP4,
    PASSWORD,
    listen,
    log_in,
    make_result,
    open_client,
    publish_next_task,
    upload_video,
)
from tests.support.clients.image_archive import png
from tests.support.state import database_rows

SECONDS = int(os.environ.get("FOTOGRAMA_FUZZ_SECONDS", "1200"))
pytestmark = pytest.mark.skipif(os.environ.get("FOTOGRAMA_SUITE") != "full", reason="it takes 20 minutes")
HOOKS = """import itertools
import json
import uuid

import schemathesis

# The chunks of tus are bytes like any others.
schemathesis.serializer.alias("application/offset+octet-stream", "application/octet-stream")
BODIES = json.loads({bodies!r})
CALLS = itertools.count()


@schemathesis.hook
def before_call(context, case, kwargs):
    # Passwords, tokens and videos can't be guessed. Half of the bodies stay as they are.
    body = BODIES.get(case.operation.label)
    # A request that is meant to be wrong keeps its mistakes.
    if next(CALLS) % 2 or case.meta is None or case.meta.generation.mode != "positive":
        return
    if body is not None:
        case.body = {{name: value.replace("UNIQUE", uuid.uuid4().hex) for name, value in body.items()}}
        case.media_type = "application/json"
    elif case.operation.label == "POST /v1/videos":
        case.body = {{"file": [{video!r}]}}
        case.media_type = "multipart/form-data"
    elif case.operation.label == "POST /v1/uploads":
        # A file's name in base64, and one of two lengths, can't be guessed either.
        case.headers.pop("Upload-Defer-Length", None)
        case.headers.pop("Upload-Checksum", None)
        case.headers.update({{"Upload-Length": "1000", "Upload-Metadata": "filename Y2xpcC5tcDQ="}})
        if case.media_type != "application/json":
            case.body = {video!r}
            case.media_type = "application/offset+octet-stream"
    elif case.operation.label == "PATCH /v1/uploads/{{id}}":
        # Most uploads have no byte yet.
        case.headers.pop("Upload-Checksum", None)
        case.headers["Upload-Offset"] = "0"
        case.body = {video!r}
        case.media_type = "application/offset+octet-stream"
"""
ANA = "ana@example.org"
# Text, because schemathesis takes bytes for a violation of the schema.
VIDEO = "\0\0\0\x18ftypisom" + 200 * "x"
ROOT = Path(__file__).parents[4]
REFUSALS = [
    "400",
    "401",
    "403",
    "404",
    "405",
    "408",
    "409",
    "410",
    "411",
    "412",
    "413",
    "415",
    "416",
    "422",
    "429",
    "460",
]
"""A header that is not understood may be refused for any of these reasons."""


class SuccessCounter:
    """Counts the successes of each operation. Pure ASGI, around the application."""

    def __init__(self, app: ASGIApp) -> None:
        self._app = app
        self.counts: Counter[tuple[str, str]] = Counter()

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        async def send_and_count(message: Message) -> None:
            if message["type"] == "http.response.start" and message["status"] < 400:
                self.counts[scope["method"], template_of(scope["path"])] += 1
            await send(message)

        await self._app(scope, receive, send_and_count)


@cache
def template_of(path: str) -> str:
    """The path in the document. A path without a parameter is preferred."""
    templates = sorted({template for _, template in OPERATIONS}, key=lambda template: template.count("{"))
    patterns = {template: re.sub(r"{\w+}", "[^/]+", template) for template in templates}
    return next((template for template, pattern in patterns.items() if re.fullmatch(pattern, path)), "")


@dataclass(frozen=True, slots=True)
class Seed:
    """What the account has. ids: by the beginning of a path; of presets the names. paths: parameters in the path of one
    operation. tokens: of other sessions, for operations that end one. bodies: of operations that need a password or a
    token.
    """

    ids: Mapping[str, Sequence[str]]
    paths: Mapping[tuple[str, str], Mapping[str, str]]
    tokens: Mapping[tuple[str, str], str]
    bodies: Mapping[str, Mapping[str, str]]


async def seed(client: httpx.AsyncClient, deps: Deps) -> Seed:
    """Gives the account something of everything."""
    webhook, other_webhook = [await post(client, "/v1/webhooks", url="https://example.org/hook") for _ in range(2)]
    extracted, failed, disposable = [await upload_video(client, f"{name}.mp4") for name in ("a", "b", "c")]
    await publish_next_task(deps, make_result([png((9, 9, 9)), png((7, 7, 7))], "png"))
    cancelled = f"/v1/extractions/{failed['extraction']['id']}"
    (await client.post(f"{cancelled}/cancel")).raise_for_status()
    (delivery, *_) = (await client.get(f"/v1/webhooks/{webhook['id']}/deliveries")).json()["items"]
    uploads = [str(tus_client.id_of(await tus_client.open_upload(client, len(MP4)))) for _ in range(8)]
    api_key = await post(client, "/v1/api-keys", name="a notebook")
    for name in ("slides", "faces"):
        (await client.put(f"/v1/presets/{name}", json={"spec": {}})).raise_for_status()
    bob = await post(client, "/v1/users", email="bob@example.org", password=PASSWORD)
    await database_rows.execute(deps.database, "UPDATE users SET role = 'admin' WHERE email = :email", email=ANA)
    sessions = {name: await post(client, "/v1/tokens", email=ANA, password=PASSWORD) for name in ("ended", "refreshed")}
    for name in ("carl", "eve"):
        await post(client, "/v1/users", email=f"{name}@example.org", password=PASSWORD)
        sessions[name] = await post(client, "/v1/tokens", email=f"{name}@example.org", password=PASSWORD)
    return Seed(
        ids={
            "/v1/extractions": [video["extraction"]["id"] for video in (extracted, failed, disposable)],
            "/v1/videos": [extracted["id"], failed["id"]],
            "/v1/uploads": uploads,
            "/v1/webhooks": [webhook["id"]],
            "/v1/api-keys": [api_key["id"]],
            "/v1/presets": ["slides", "faces"],
            "/v1/admin/users": [bob["id"]],
        },
        paths={
            ("DELETE", "/v1/videos/{id}"): {"id": (await upload_video(client, "disposable.mp4"))["id"]},
            ("DELETE", "/v1/uploads/{id}"): {"id": uploads.pop()},
            ("DELETE", "/v1/webhooks/{id}"): {"id": other_webhook["id"]},
            ("POST", "/v1/webhooks/{id}/deliveries/{delivery_id}/redeliver"): {
                "id": webhook["id"],
                "delivery_id": delivery["id"],
            },
        },
        tokens={
            ("DELETE", "/v1/tokens"): sessions["ended"]["access_token"],
            ("POST", "/v1/me/password"): sessions["carl"]["access_token"],
            ("DELETE", "/v1/me"): sessions["eve"]["access_token"],
        },
        bodies={
            "POST /v1/users": {"email": "UNIQUE@example.org", "password": PASSWORD},
            "POST /v1/tokens": {"email": ANA, "password": PASSWORD},
            "POST /v1/tokens/refresh": {"refresh_token": sessions["refreshed"]["refresh_token"]},
            "POST /v1/me/password": {"current": PASSWORD, "new": PASSWORD},
            "DELETE /v1/me": {"password": PASSWORD},
            "POST /v1/estimates": {"video_id": extracted["id"]},
        },
    )


async def post(client: httpx.AsyncClient, path: str, **body: str) -> dict[str, Any]:
    """The response to a valid request."""
    answer = await client.post(path, json=body)
    answer.raise_for_status()
    document: dict[str, Any] = answer.json()
    return document


def configuration(seeded: Seed) -> str:
    """The configuration of schemathesis, in TOML."""
    lines = []
    for check in ("negative_data_rejection", "missing_required_header"):
        lines += [f"[checks.{check}]", f"expected-statuses = {json.dumps(REFUSALS)}"]
    # A specification has rules that its schema can't express, and a state or a limit may refuse any request.
    lines += [
        "[checks.positive_data_acceptance]",
        f"expected-statuses = {json.dumps(['2xx', '304', '503', *REFUSALS])}",
    ]
    # What tus can do is told for any id. The other method of X-HTTP-Method-Override needs only its own headers.
    for method in ("OPTIONS", "POST"):
        lines += [_operation("/v1/uploads/{id}", method), "checks.negative_data_rejection.enabled = false"]
    lines += [_operation("/v1/events", "GET"), "max-stream-events = 1", "request-timeout = 2.0"]
    for (method, path), token in seeded.tokens.items():
        lines += [_operation(path, method), f'headers = {{Authorization = "Bearer {token}"}}']
    for (method, path), values in seeded.paths.items():
        parameters = ", ".join(f'"path.{name}" = "{value}"' for name, value in values.items())
        lines += [_operation(path, method), f"parameters = {{{parameters}}}"]
    for prefix, known in seeded.ids.items():
        name = prefix.rpartition("/")[2]
        lines += ["[[operations]]", f'include-path-regex = "^{prefix}/"']
        parameter = "path.name" if prefix == "/v1/presets" else "path.id"
        lines += [f'parameters = {{"{parameter}" = {{dictionary = "{name}", probability = 0.9}}}}']
        lines += [f"[dictionaries.{name}]", f"values = {json.dumps(known)}"]
    return "\n".join(lines) + "\n"


def _operation(path: str, method: str) -> str:
    # With `include-path` and `include-method` it would be all operations of the path and all of the method.
    return f'[[operations]]\ninclude-name = "{method} {path}"'


async def run_schemathesis(port: int, token: str, seeded: Seed, folder: Path) -> tuple[int, str]:
    """Returns its exit code and its output. It runs in an environment that has nothing but the group `fuzz`."""
    file, hooks = folder / "schemathesis.toml", folder / "hooks.py"
    hooks.write_text(HOOKS.format(bodies=json.dumps(seeded.bodies), video=VIDEO))
    # A header of the command line would win over the headers of single operations.
    header = f'headers = {{Authorization = "Bearer {token}"}}'
    file.write_text(f'hooks = "{hooks}"\n{header}\n{configuration(seeded)}')
    url = f"http://127.0.0.1:{port}"
    command = [os.environ.get("UV", "uv"), "run", "--quiet", "--project", str(ROOT), "--locked", "--isolated"]
    command += [
        "--only-group",
        "fuzz",
        "schemathesis",
        "--config-file",
        str(file),
        "run",
        f"{url}/openapi.json",
        "--url",
        url,
    ]
    command += ["--max-time", str(SECONDS), "--continue-on-failure"]
    process = await asyncio.create_subprocess_exec(
        *command, cwd=folder, stdout=asyncio.subprocess.PIPE, stderr=asyncio.subprocess.STDOUT
    )
    output, _ = await process.communicate()
    assert process.returncode is not None
    return process.returncode, output.decode()


async def test_no_answer_differs_from_the_document(deps: Deps, tmp_path: Path) -> None:
    lasting = replace(deps, access_seconds=SECONDS + 3600.0)
    counter = SuccessCounter(create_app(lasting))
    async with open_client(counter) as client, listen(counter) as port:
        await log_in(client, ANA)
        seeded = await seed(client, lasting)
        counter.counts.clear()
        token = client.headers["authorization"].removeprefix("Bearer ")
        code, output = await run_schemathesis(port, token, seeded, tmp_path)
        # All requests were those of an admin, until the last one.
        assert (await client.get("/v1/admin/queue")).status_code == 200
    assert code == 0, output
    tested = re.search(r"Tested: +(\d+)", output)
    assert tested is not None, output
    assert int(tested[1]) == len(OPERATIONS)
    never_succeeded = OPERATIONS.keys() - counter.counts.keys()
    assert not never_succeeded, output
