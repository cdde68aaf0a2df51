"""Ray's fake nodes, of which those of one group never come: a cloud without machines for them."""

from __future__ import annotations

from typing import Any

from ray.autoscaler._private.fake_multi_node import node_provider
from ray.autoscaler.tags import TAG_RAY_USER_NODE_TYPE

SOLD_OUT = "decode-cpu-spot"
FakeMultiNodeProvider: Any = node_provider.FakeMultiNodeProvider
"""Without types."""


class FakeNodes(FakeMultiNodeProvider):  # type: ignore[misc]  # as above
    """A node of the group SOLD_OUT stays pending until it is given up."""

    def _create_node_with_resources_and_labels(
        self, node_config: Any, tags: Any, count: int, resources: Any, labels: Any
    ) -> None:
        if tags[TAG_RAY_USER_NODE_TYPE] != SOLD_OUT:
            super()._create_node_with_resources_and_labels(node_config, tags, count, resources, labels)
            return
        with self.lock:
            self._nodes[self._next_hex_node_id()] = {"tags": tags, "node": None}

    def _terminate_node(self, node: Any) -> None:
        if node["node"] is not None:
            super()._terminate_node(node)
