"""Deploys the Serve applications of a file on a running Ray cluster, as KubeRay does with `serveConfigV2`; then prints,
twice a second, one line of JSON: the nodes with their groups, and the replicas of each application by their state.

Arguments: the address of the cluster, the file; and `--until-running`, to end when all applications run.
"""

from __future__ import annotations

import json
import sys
import time
from pathlib import Path
from typing import Any

import ray
from ray import serve
from ray.serve._private.api import serve_start
from ray.serve.schema import ServeDeploySchema

CONNECT_SECONDS, PRINT_SECONDS = 120.0, 0.5
GROUP_LABEL = "group"


def connect(address: str) -> None:
    started = time.monotonic()
    while True:
        try:
            ray.init(address=address, namespace="serve", log_to_driver=False)
        except ConnectionError:
            if time.monotonic() - started > CONNECT_SECONDS:
                raise
            time.sleep(PRINT_SECONDS)
        else:
            return


def state() -> dict[str, Any]:
    replicas: dict[str, dict[str, int]] = {}
    statuses: dict[str, str] = {}
    for name, application in serve.status().applications.items():
        statuses[name] = f"{application.status.value} {application.message}".strip()
        replicas[name] = {}
        for deployment in application.deployments.values():
            replicas[name] |= {str(key): count for key, count in deployment.replica_states.items()}
    every: Any = ray.nodes  # Ray has no type for it
    nodes = {node["NodeID"]: node["Labels"].get(GROUP_LABEL, "head") for node in every() if node["Alive"]}
    return {"nodes": nodes, "replicas": replicas, "statuses": statuses}


def main(address: str, file: Path, *, until_running: bool) -> None:
    config = json.loads(file.read_text())
    connect(address)
    client: Any = serve_start(proxy_location=config["proxy_location"], http_options=config["http_options"])
    client.deploy_apps(ServeDeploySchema.model_validate(config))
    while True:
        present = state()
        print(json.dumps(present), flush=True)
        if until_running and all(status.startswith("RUNNING") for status in present["statuses"].values()):
            return
        time.sleep(PRINT_SECONDS)


if __name__ == "__main__":
    main(sys.argv[1], Path(sys.argv[2]), until_running="--until-running" in sys.argv[3:])
