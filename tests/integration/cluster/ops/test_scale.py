"""`fotograma ops scale`: limits of autoscaling that stand until they are reset."""

from __future__ import annotations

import json
from typing import Any

import pytest
from sqlalchemy.ext.asyncio import AsyncEngine

from db import operator_controls
from db.connection import open_database
from db.operator_controls import WorkerLimits
from db.values.worker_kind import WorkerKind
from tests.integration.cluster.ops.conftest import RunOps


async def scale(ops: RunOps, *options: str) -> dict[str, Any]:
    done = await ops("scale", *options, "--json")
    assert done.code == 0, done.err
    document: dict[str, Any] = json.loads(done.out)
    return document


async def test_limits_stand_until_they_are_reset_and_one_that_is_not_given_stays(
    ops: RunOps, database: AsyncEngine
) -> None:
    async def ordered() -> WorkerLimits:
        return (await operator_controls.scaling_orders(database, WorkerKind.CPU)).limits

    assert await scale(ops) == {"kind": "cpu", "min": None, "max": None, "is_read": False}
    await scale(ops, "--min", "2", "--max", "40")
    assert await ordered() == WorkerLimits(2, 40)
    await scale(ops, "--max", "5")
    assert await ordered() == WorkerLimits(2, 5)
    assert json.loads((await ops("status", "--json")).out)["limits"]["cpu"] == {"min": 2, "max": 5}
    await scale(ops, "gpu", "--max", "0")
    assert await ordered() == WorkerLimits(2, 5)
    status = (await ops("status")).out
    assert "ordered for cpu: at least 2, at most 5" in status
    assert "ordered for gpu: at most 0" in status
    assert (await scale(ops, "--reset"))["max"] is None
    assert await ordered() == WorkerLimits()


async def test_it_says_whether_autoscaling_reads_the_limits(ops: RunOps, database_url: str) -> None:
    assert "No autoscaling asks for these limits" in (await ops("scale", "gpu", "--max", "3")).out
    policy = open_database(database_url, name=operator_controls.scaling_name(WorkerKind.GPU))
    async with policy.connect():
        assert (await ops("scale", "gpu")).out == "Workers of the kind gpu: at most 3.\n"
        assert not (await scale(ops, "cpu"))["is_read"]
    await policy.dispose()


@pytest.mark.parametrize(
    "wrong", [["--min=-1"], ["--min=9"], ["--max=1"], ["--max=many"], ["tpu", "--max=3"], ["--reset", "--max=6"]]
)
async def test_impossible_limits_change_nothing(ops: RunOps, wrong: list[str]) -> None:
    before = await scale(ops, "--min", "2", "--max", "8")
    refused = await ops("scale", *wrong)
    assert (refused.code, refused.out) == (2, "")
    assert await scale(ops) == before
