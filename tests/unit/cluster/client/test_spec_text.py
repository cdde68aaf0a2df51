"""Specifications as text, and whether two texts select the same frames."""

from __future__ import annotations

import json
from decimal import Decimal
from typing import Any

import pytest

from cluster.client.extraction_spec import is_same_spec, spec_text
from db.values import frame_spec


def test_decimals_of_a_specification_keep_every_digit() -> None:
    assert spec_text({"sample": {"mode": "fps", "fps": Decimal("29.970")}}) == '{"sample":{"mode":"fps","fps":29.970}}'
    assert spec_text({"at": (0.1, 2, None, True)}) == '{"at":[0.1,2,null,true]}'
    assert spec_text('{"max_frames": 1}') == '{"max_frames": 1}'


@pytest.mark.parametrize("spec", ["{", {"a": float("nan")}, {"a": Decimal("Infinity")}, {"a": object()}])
def test_specification_that_json_cannot_express_is_refused(spec: Any) -> None:
    with pytest.raises((ValueError, TypeError)):
        spec_text(spec)


SPECS = [
    "{}",
    '{"sample":{"mode":"fps","fps":29.970}}',
    '{"sample":{"mode":"fps"},"range":{"start":1.50},"max_frames":3}',
    '{"sample":{"mode":"scenes"},"image":{"format":"png"},"snap":"keyframe"}',
    '{"sample":{"mode":"timestamps","at":[0.1,2]},"range":{"end":9}}',
]


@pytest.mark.parametrize("text", SPECS)
def test_only_the_same_frames_and_images_are_the_same_specification(text: str) -> None:
    canonical_spec = json.loads(frame_spec.canonical(frame_spec.parse(text)))
    assert [spec for spec in SPECS if is_same_spec(spec, canonical_spec)] == [text]
    assert is_same_spec(None, canonical_spec) == (text == "{}")


def test_unknown_field_makes_another_specification() -> None:
    assert not is_same_spec(None, {"a_later_field": 1})
    assert not is_same_spec(None, {"sample": {"mode": "a_later_mode"}})
