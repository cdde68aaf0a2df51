"""Deploys the running applications anew, as a rollout does: `python -m tests.faults.injection.rolling_redeploy
GCS_ADDRESS NAME...`.

Serve replaces every replica of a deployment whose code version is another one, and each deployment here is. Runs with
the environment of the process that holds Ray.
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
    """Gives back when the new replicas run."""
    ray.init(address=address, log_to_driver=False, namespace="serve")
    for name in names:
        serve.run(BUILD[name](), name=name, route_prefix=ROUTES.get(name))
    ray.shutdown()


if __name__ == "__main__":
    redeploy(sys.argv[1], sys.argv[2:])
