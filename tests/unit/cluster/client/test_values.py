"""The SDK does not import the service and repeats its values. These tests keep the two equal."""

from __future__ import annotations

import json
from dataclasses import fields, is_dataclass
from typing import Any

import pytest

from cluster.client import account_types, api_types, result_types
from cluster.client.json_decoding import decode
from db.values.lifecycle import ExtractionStatus, is_terminal
from db.values.manifest import ManifestVideo
from db.values.media_info import Media
from serve_app.openapi import response_schemas
from serve_app.openapi.frame_spec_schema import Schema
from tests.support.clients.documented_service import ACCOUNT, API_KEY, DELIVERY, LEDGER, WEBHOOK
from tests.support.clients.fake_service import MANIFEST

SCHEMAS: dict[type[Any], type[Schema]] = {
    account_types.Account: response_schemas.Account,
    api_types.Tokens: response_schemas.Tokens,
    api_types.Media: response_schemas.Media,
    api_types.Progress: response_schemas.Progress,
    api_types.Failure: response_schemas.ExtractionError,
    api_types.ResultWarning: response_schemas.ResultWarning,
    api_types.Result: response_schemas.Result,
    api_types.Extraction: response_schemas.Extraction,
    api_types.Video: response_schemas.Video,
    api_types.TimelineEvent: response_schemas.TimelineEvent,
    account_types.Ledger: response_schemas.Ledger,
    account_types.Webhook: response_schemas.NewWebhook,
    account_types.DeliveryTry: response_schemas.DeliveryTry,
    account_types.Delivery: response_schemas.Delivery,
}


@pytest.mark.parametrize("sdk_type", SCHEMAS, ids=lambda kind: kind.__name__)
def test_every_field_of_the_sdk_is_in_the_schema_of_the_service(sdk_type: type[Any]) -> None:
    documented = {field.alias or name for name, field in SCHEMAS[sdk_type].model_fields.items()}
    assert {field.name for field in fields(sdk_type)} <= documented


def test_statuses_and_which_of_them_are_final_equal_those_of_the_service() -> None:
    assert {status.value: status.ended for status in api_types.Status} == {
        status.value: is_terminal(status) for status in ExtractionStatus
    }


VALUES = [
    value
    for module in (api_types, account_types, result_types)
    for value in vars(module).values()
    if is_dataclass(value) and isinstance(value, type) and value.__module__ == module.__name__
]


@pytest.mark.parametrize("kind", VALUES, ids=lambda kind: kind.__name__)
def test_every_value_can_be_written_as_a_dict(kind: type[Any]) -> None:
    with_bytes = {result_types.FrameImage, result_types.ContactSheet}
    assert issubclass(kind, api_types.ApiValue) is (kind not in with_bytes)


@pytest.mark.parametrize(
    ("kind", "document"),
    [
        (account_types.Account, ACCOUNT),
        (account_types.ApiKey, API_KEY | {"secret": None}),
        (account_types.Webhook, WEBHOOK | {"disabled_at": None, "secret": None}),
        (account_types.Delivery, DELIVERY | {"due_at": None, "delivered_at": None, "tries": []}),
        (account_types.Ledger, LEDGER),
        (api_types.Estimate, {"frames": 7, "bytes": 1000, "seconds": 1.5}),
    ],
)
def test_dict_of_a_value_is_what_the_service_answered(kind: type[Any], document: dict[str, Any]) -> None:
    value = decode(kind, json.dumps(document).encode())
    assert value.to_dict() == document
    assert decode(kind, json.dumps(value.to_dict()).encode()) == value


def test_manifest_names_its_video_as_the_engine_writes_it() -> None:
    media = Media("mp4", "h264", 64, 48, 90, 2.5, 60, 24.0, variable_frame_rate=False, key_frames=3)
    written = ManifestVideo("5e" * 32, 9, media).json()
    manifest = decode(result_types.Manifest, json.dumps(MANIFEST | {"video": json.loads(written)}).encode())
    assert manifest.video.to_dict() == json.loads(written)
    assert (manifest.video.size, manifest.video.variable_frame_rate) == (9, False)
