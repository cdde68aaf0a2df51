"""The API calls for presets as flows. Each raises ApiError, ConnectionFailed or UnexpectedAnswer."""

from __future__ import annotations

from cluster.client.account_types import Preset, Presets
from cluster.client.authorized_requests import Session, authorized, delete_once
from cluster.client.calls.resource_paths import path_segment
from cluster.client.effects import Flow, Request
from cluster.client.json_decoding import decode

_PATH = "/v1/presets"


def presets(session: Session) -> Flow[tuple[Preset, ...]]:
    reply = yield from authorized(session, Request("GET", _PATH))
    return decode(Presets, reply.content, keeps_digits=True).items


def save_preset(session: Session, name: str, spec: str) -> Flow[Preset]:
    """spec: JSON text."""
    headers = {"Content-Type": "application/json"}
    body = f'{{"spec":{spec}}}'.encode()
    request = Request("PUT", _preset_path(name), headers=headers, body=body, repeatable=True)
    reply = yield from authorized(session, request)
    return decode(Preset, reply.content, keeps_digits=True)


def delete_preset(session: Session, preset: Preset | str) -> Flow[None]:
    yield from delete_once(session, _preset_path(preset if isinstance(preset, str) else preset.name))


def _preset_path(name: str) -> str:
    return f"{_PATH}/{path_segment(name)}"
