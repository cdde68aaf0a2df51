"""The autoscaling policy of the pool, with the database of this process's settings.

Serve stores this module by value and makes the policy in its controller, whose environment has the settings.
"""

from __future__ import annotations

from typing import TypedDict

from actors.scaling.autoscaling_policy import WorkerScalingPolicy
from actors.scaling.demand_watch import DemandWatch
from actors.scaling.fall_back import FallBack
from actors.scaling.fall_back_watch import FallBackWatch
from actors.scaling.replica_decision import Bounds
from db.values.worker_kind import WorkerKind


class FallBackValues(TypedDict):
    """The values of FallBack, as Serve stores them."""

    resources: dict[str, float]
    labels: dict[str, str]
    after_seconds: float
    max_workers: int


class PoolScalingPolicy(WorkerScalingPolicy):
    """kind: of the workers. min_workers, max_workers: of the deployment. segment_seconds, wait_seconds, idle_seconds:
    of the settings of whoever deployed them. fall_back: None when the workers' nodes have none.
    """

    def __init__(
        self,
        *,
        kind: str,
        min_workers: int,
        max_workers: int,
        segment_seconds: float,
        wait_seconds: float,
        idle_seconds: float,
        fall_back: FallBackValues | None = None,
    ) -> None:
        def database_url() -> str:
            from cluster.settings import load  # noqa: PLC0415 - the controller has no use for the settings' packages

            return load().database_url

        super().__init__(
            DemandWatch(database_url, kind=WorkerKind(kind), segment_seconds=segment_seconds),
            bounds=Bounds(min_workers, max_workers),
            wait_seconds=wait_seconds,
            idle_seconds=idle_seconds,
            fall_back=None if fall_back is None else FallBackWatch(FallBack(**fall_back)),
        )
