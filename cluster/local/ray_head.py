"""The process of Ray's head, `python -m cluster.local.ray_head`: starts a cluster and the applications on it.

Ray's client ends its own process when Ray breaks down. Therefore it does not run in the process of `fotograma up`. What
the API needs starts first. Ray's dashboard and its monitor start when the applications run.
"""

from __future__ import annotations

import logging
import os
import sys
import threading
from dataclasses import replace
from typing import Any

import ray
from ray._private import node as ray_node
from ray._private import utils as ray_files
from ray._private import worker as ray_worker

from actors.sandbox.process_hardening import hide_memory
from cluster.local.cores_and_ports import LOCALHOST, first_free
from cluster.local.data_dir import ray_folder
from cluster.local.gcs_supervisor import supervise_ray
from cluster.local.servers.ray_head_command import Addresses, HeadStep, RayHeadCommand
from cluster.local.signal_handling import StopRequested, install_handlers, stop_on_signals, stop_when_parent_ends

AGENT_PORT = 52365
OBJECT_STORE_BYTES = 80_000_000
"""The minimum of Ray's object store. Videos and frames do not use it."""

log = logging.getLogger(__name__)


class HeadNode(ray_node.Node):
    """Ray's head without the processes that no replica needs. `start_dashboard` starts the ones that people use."""

    def __init__(self, ray_params: Any, **options: Any) -> None:
        # Ray's default is one port for all clusters of a machine, and only the first could take jobs. With port 0 the
        # start of Ray would wait until the agent has chosen one.
        ray_params.dashboard_agent_listen_port = first_free(AGENT_PORT, but=ray_params.dashboard_port or 0)
        super().__init__(ray_params, **options)

    def start_api_server(self, **_options: Any) -> None:
        """Does nothing: the dashboard starts later."""

    def start_monitor(self) -> None:
        """Does nothing: the monitor, which feeds the dashboard, starts later."""

    def start_log_monitor(self) -> None:
        """Does nothing: it would send the replicas' output to the driver, where nobody reads it."""

    def start_dashboard(self) -> str:
        """Starts the dashboard and the monitor. Returns the dashboard's address.

        The calling thread must outlive them.
        """
        super().start_monitor()  # type: ignore[no-untyped-call]  # Ray has no type for it
        super().start_api_server(include_dashboard=True, raise_on_failure=True)
        return f"http://{self.webui_url}"


def run_head(head: RayHeadCommand) -> None:
    """Runs the cluster and the applications until a signal stops it, or until the raylet ends."""
    # This process has the secrets in its environment.
    hide_memory()
    with stop_on_signals():
        try:
            # Ray's start waits half of the time, in which Serve is imported.
            threading.Thread(target=_import_serve, name="import", daemon=True).start()
            addresses = Addresses(metrics=_start_ray(head))
            head.write_report(HeadStep.RAY, addresses)
            # The supervisor writes a byte when the database is ready. Its death closes the pipe.
            if not os.read(0, 1):
                raise StopRequested
            stop_when_parent_ends(0)
            _start_serve(head)
            _run_applications(head)
            head.write_report(HeadStep.APPLICATIONS, addresses)
            if head.dashboard:
                head.write_report(HeadStep.DASHBOARD, replace(addresses, dashboard=_start_dashboard()))
            supervise_ray(_restart_gcs)
        except StopRequested:
            _stop_ray()
            return
    # A cluster without its raylet can't even be shut down. The supervisor ends the remaining processes.
    os._exit(1)


def _import_serve() -> None:
    # Each of them imports `ray.serve`.
    from cluster import serve_applications  # noqa: F401, PLC0415


def _start_ray(head: RayHeadCommand) -> str:
    """Starts a cluster of its own, and leaves another cluster on the machine alone. Returns the metrics' address.

    A worker requests one logical CPU; the API and maintenance request none.
    """
    ray_node.Node = HeadNode  # type: ignore[misc,assignment]  # `ray.init` has no parameter for the class of the node
    context: Any = ray.init(
        address="local",
        num_cpus=head.workers,
        num_gpus=0,
        object_store_memory=OBJECT_STORE_BYTES,
        include_dashboard=True,
        dashboard_host=LOCALHOST,
        dashboard_port=head.dashboard_port,
        logging_level=logging.WARNING,
        log_to_driver=False,
        _node_ip_address=LOCALHOST,
        _temp_dir=str(ray_folder(head.folder)),
    )
    # As `ray start` does. Without it a Ray job connects to any cluster of the machine.
    ray_files.write_ray_address(context.address_info["gcs_address"], str(ray_folder(head.folder)))
    install_handlers()
    return f"http://{LOCALHOST}:{context.address_info['metrics_export_port']}"


def _start_serve(head: RayHeadCommand) -> None:
    """Starts Serve's controller, and no proxy: the replicas of the API are behind HAProxy (`embedded_haproxy`)."""
    from ray import serve  # noqa: PLC0415

    logging.getLogger("ray.serve").setLevel(logging.WARNING)
    serve.start(proxy_location="Disabled", logging_config={"logs_dir": str(head.logs)})


def _run_applications(head: RayHeadCommand) -> None:
    """Starts the three applications and waits until they run."""
    from ray import serve  # noqa: PLC0415

    from cluster.serve_applications import Placement, WorkerPlacement, api, maintenance, pool  # noqa: PLC0415

    # Serve starts the replicas in this order.
    applications = {
        "api": (api(Placement()), "/"),
        "pool": (pool(WorkerPlacement()), None),
        "maintenance": (maintenance(Placement()), None),
    }
    serve.run_many(
        [
            serve.RunTarget(target=target, name=name, route_prefix=route, logging_config={"logs_dir": str(head.logs)})
            for name, (target, route) in applications.items()
        ]
    )


def _start_dashboard() -> str:
    """Returns the dashboard's address; "" when it does not start, because the service works without it."""
    node: Any = ray_worker._global_node
    try:
        return str(node.start_dashboard())
    except Exception:  # of any kind that Ray raises
        log.exception("Ray's dashboard did not start.")
        return ""


def _restart_gcs() -> None:
    """Restarts the GCS at its old address, with its state from the disk."""
    # As in Ray's own tests: Ray has no public function for it.
    node: Any = ray_worker._global_node
    node.kill_gcs_server(check_alive=False)
    node.start_gcs_server()


def _stop_ray() -> None:
    """Ends the applications, so that the workers release their tasks, then the cluster."""
    if not ray.is_initialized():
        return
    from ray import serve  # noqa: PLC0415

    try:
        serve.shutdown()  # type: ignore[no-untyped-call]  # Ray has no type for it
    except Exception:  # a broken cluster must end as well
        log.exception("Serve did not shut down.")
    ray.shutdown()


if __name__ == "__main__":
    run_head(RayHeadCommand.parse(sys.argv[1]))
