"""The SDK does not import the service, so that it says once more what it reads: the two are held together here."""

from __future__ import annotations

from dataclasses import fields

import pytest

from cluster.client import values
from db.lifecycle import ExtractionStatus, is_terminal
from serve_app import schemas

TOLD = {
    values.Account: schemas.Account,
    values.Tokens: schemas.Tokens,
    values.Media: schemas.Media,
    values.Progress: schemas.Progress,
    values.Failure: schemas.ExtractionError,
    values.ResultWarning: schemas.ResultWarning,
    values.Result: schemas.Result,
    values.Extraction: schemas.Extraction,
    values.Video: schemas.Video,
    values.Moment: schemas.Moment,
    values.Ledger: schemas.Ledger,
    values.Webhook: schemas.NewWebhook,
    values.DeliveryTry: schemas.DeliveryTry,
    values.Delivery: schemas.Delivery,
}


@pytest.mark.parametrize("read", TOLD, ids=lambda kind: kind.__name__)
def test_whatever_the_sdk_reads_the_service_tells(read):
    told = {field.alias or name for name, field in TOLD[read].model_fields.items()}
    assert {field.name for field in fields(read)} <= told


def test_the_statuses_are_those_of_the_service_and_end_like_them():
    assert {status.value: status.ended for status in values.Status} == {
        status.value: is_terminal(status) for status in ExtractionStatus
    }
