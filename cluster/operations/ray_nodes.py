"""The nodes of the Ray cluster, as its GCS knows them: read without connecting to the cluster as a driver."""

from __future__ import annotations

import asyncio
import json
import os
import socket
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from cluster.operations.operation_errors import OperationError, ServerAway

GCS_SECONDS = 5.0
CONNECT_SECONDS = 3.0
DEFAULT_PORT = 6379
PREEMPTION = 2
"""DRAIN_NODE_REASON_PREEMPTION of Ray's autoscaler.proto: the node may not refuse."""
REPLICA_PREFIX = "SERVE_REPLICA::"
"""Of the names of Serve's actors."""


@dataclass(frozen=True, slots=True)
class RayNode:
    """state: `alive`, `draining` or `dead`. resources: what it offers, such as CPU. ends_at: seconds since the epoch;
    None when it is not drained, or drained without a deadline.
    """

    id: str
    address: str
    host: str
    state: str
    is_head: bool
    resources: dict[str, float]
    ends_at: float | None = None


class RayCluster:
    """The cluster whose GCS is at this address. token: file with its token; None when the environment has it.

    Raises ServerAway when nothing answers there, which Ray itself would wait for.
    """

    def __init__(self, address: str, token: Path | None) -> None:
        self.address = _plain_address(address)
        _check_reachable(self.address)
        if token is not None:
            os.environ |= {"RAY_AUTH_MODE": "token", "RAY_AUTH_TOKEN_PATH": str(token)}
        # Ray reads the variables when it is imported.
        from ray._raylet import GcsClient  # type: ignore[attr-defined]  # noqa: PLC0415 - Ray has no type for it

        try:
            self._gcs: Any = GcsClient(address=self.address)
        except Exception as error:
            raise ServerAway(f"Ray at {self.address}", _reason(error)) from error

    def nodes(self) -> list[RayNode]:
        """All nodes that are not dead, the head first. Raises ServerAway."""
        try:
            found = self._gcs.get_all_node_info(timeout=GCS_SECONDS)
            draining = self._gcs.get_draining_nodes(timeout=GCS_SECONDS)
        except Exception as error:
            raise ServerAway(f"Ray at {self.address}", _reason(error)) from error
        nodes = [_node_of(info, draining) for info in found.values() if info.state == 0]
        return sorted(nodes, key=lambda node: (not node.is_head, node.address, node.id))

    def drain(self, node: RayNode, deadline_seconds: float) -> None:
        """Has Ray drain the node as one that will end then: nothing new is placed on it. Raises OperationError."""
        deadline_ms = int((time.time() + deadline_seconds) * 1000)
        try:
            is_accepted, why = self._gcs.drain_node(node.id, PREEMPTION, "fotograma ops drain", deadline_ms)
        except Exception as error:
            raise ServerAway(f"Ray at {self.address}", _reason(error)) from error
        if not is_accepted:
            raise OperationError(f"Ray does not drain the node {node.id[:12]}: {why}")

    def replicas_on(self, node: RayNode) -> int:
        """How many replicas of Serve are alive on the node: workers, and replicas of the API and of maintenance."""
        found = asyncio.run(self._actors())
        return sum(actor.name.startswith(REPLICA_PREFIX) and actor.address.node_id.hex() == node.id for actor in found)

    async def _actors(self) -> list[Any]:
        try:
            found = await self._gcs.async_get_all_actor_info(actor_state_name="ALIVE", timeout=GCS_SECONDS)
        except Exception as error:
            raise ServerAway(f"Ray at {self.address}", _reason(error)) from error
        return list(found.values())

    def versions(self) -> dict[str, str]:
        """The versions of `ray` and `python` that the cluster was started with, as far as it tells."""
        from ray._common.usage.usage_constants import CLUSTER_METADATA_KEY  # noqa: PLC0415
        from ray._private.ray_constants import KV_NAMESPACE_CLUSTER  # noqa: PLC0415

        try:
            found = self._gcs.internal_kv_get(CLUSTER_METADATA_KEY, KV_NAMESPACE_CLUSTER, GCS_SECONDS)
        except Exception as error:
            raise ServerAway(f"Ray at {self.address}", _reason(error)) from error
        stored = json.loads(found) if found else {}
        names = {"ray": "ray_version", "python": "python_version"}
        return {name: stored[key] for name, key in names.items() if key in stored}


def _node_of(info: Any, draining: dict[str, int]) -> RayNode:
    node_id = info.node_id.hex()
    deadline = draining.get(node_id)
    return RayNode(
        node_id,
        info.node_manager_address,
        info.node_manager_hostname,
        "alive" if deadline is None else "draining",
        info.is_head_node,
        {name: amount for name, amount in info.resources_total.items() if not name.startswith("node:")},
        deadline / 1000 if deadline else None,
    )


def _plain_address(address: str) -> str:
    host, _, port = address.removeprefix("ray://").rpartition(":")
    return address if host and port.isdigit() else f"{address}:{DEFAULT_PORT}"


def _check_reachable(address: str) -> None:
    host, _, port = address.rpartition(":")
    try:
        socket.create_connection((host.strip("[]"), int(port)), timeout=CONNECT_SECONDS).close()
    except (OSError, ValueError) as error:
        raise ServerAway(f"Ray at {address}", _reason(error)) from error


def _reason(error: Exception) -> str:
    lines = str(error).strip().splitlines()
    return lines[0].rstrip(".")[:300] if lines else type(error).__name__
