"""Deploys running applications again, as a rollout does: `python -m tests.faults.injection.rolling_redeploy
GCS_ADDRESS NAME...`.

Serve replaces every replica when the code version of its deployment changes. Each deployment here gets a new one. The
program needs the service's settings and Ray's token in its environment (`System.deploying_environment`).
"""

from __future__ import annotations

import sys
from collections.abc import Sequence

import ray
from ray import serve

from cluster.serve_applications import Placement, WorkerPlacement, api, maintenance, pool

BUILD = {
    "api": lambda: api(Placement()),
    "pool": lambda: pool(WorkerPlacement()),
    "maintenance": lambda: maintenance(Placement()),
}
ROUTES = {"api": "/"}


def redeploy(address: str, names: Sequence[str]) -> None:
    """Deploys the named applications; returns when their new replicas run."""
    ray.init(address=address, log_to_driver=False, namespace="serve")
    for name in names:
        serve.run(BUILD[name](), name=name, route_prefix=ROUTES.get(name))
    ray.shutdown()


if __name__ == "__main__":
    redeploy(sys.argv[1], sys.argv[2:])
