"""A Ray cluster with a real autoscaler, whose nodes are processes of this machine (Ray's fake provider of nodes).

The decoding nodes of `kuberay/` stand for node types here: the autoscaler adds one for a replica that fits nowhere.
"""

from __future__ import annotations

import json
import os
import secrets
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Collection, Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import psutil

from cluster.cli.output.exit_codes import CommandExitCode
from tests.scenarios.scenarios import Nodes
from tests.support.programs.deploy_on_cluster import GROUP_LABEL
from tests.support.servers.running_service import free_port

HEAD_NODE_ID = "f" * 51 + "00000"
PROVIDER = "tests.support.clusters.sold_out_nodes.FakeNodes"
NODE_VARIABLE = "RAY_OVERRIDE_NODE_ID_FOR_TESTING"
DEPLOY_SECONDS = 180
OBJECT_STORE_BYTES = 80_000_000
SCRIPTS = Path(sys.executable).parent
LOOPBACK = "127.0.0.1"

# As in an autoscaling file of Ray: it wants them, however empty.
UNUSED_FIELDS: dict[str, Any] = {
    "auth": {},
    "file_mounts": {},
    "cluster_synced_files": [],
    "initialization_commands": [],
    "setup_commands": [],
    "head_setup_commands": [],
    "worker_setup_commands": [],
    "head_start_ray_commands": [],
    "worker_start_ray_commands": [],
}


@dataclass(frozen=True, slots=True)
class ClusterState:
    """seconds: since the applications were deployed. groups: those of the live nodes, by their ids, with the head.
    replicas: of each application, how many are in each state.
    """

    seconds: float
    groups: Mapping[str, str]
    replicas: Mapping[str, Mapping[str, int]]
    statuses: Mapping[str, str]

    @property
    def workers(self) -> int:
        """Replicas of the pool that run."""
        return self.running("pool")

    def running(self, application: str) -> int:
        """Replicas of an application that run."""
        return self.replicas.get(application, {}).get("RUNNING", 0)

    def are_deployed(self, applications: Collection[object]) -> bool:
        """Whether all of them run."""
        return len(self.statuses) == len(applications) and all(
            status.startswith("RUNNING") for status in self.statuses.values()
        )

    @property
    def decode_nodes(self) -> Nodes:
        return frozenset(self.groups) - {HEAD_NODE_ID}

    def nodes_of(self, group: str) -> int:
        """Live nodes of a group."""
        return list(self.groups.values()).count(group)


@dataclass
class FakeCluster:
    """folder: an empty one with a short path. groups: of decoding nodes, as in an autoscaling file of Ray. settings: of
    the service.
    """

    folder: Path
    groups: Mapping[str, Mapping[str, Any]]
    settings: Mapping[str, str]
    idle_seconds: float = 6.0
    gcs_port: int = field(default_factory=free_port)
    http_port: int = field(default_factory=free_port)
    states: list[ClusterState] = field(default_factory=list)

    def __post_init__(self) -> None:
        self._changed = threading.Condition()
        self._processes: list[subprocess.Popen[str]] = []
        token = self.folder / "token"
        token.write_text(secrets.token_hex(32))
        token.chmod(0o600)
        self._environment = {
            **os.environ,
            "PATH": os.pathsep.join([str(SCRIPTS), os.environ["PATH"]]),
            # For the provider of the nodes.
            "PYTHONPATH": str(Path(__file__).parents[3]),
            "RAY_FAKE_CLUSTER": "1",
            "RAY_enable_autoscaler_v2": "1",
            "AUTOSCALER_UPDATE_INTERVAL_S": "1",
            "RAY_CLOUD_INSTANCE_ID": HEAD_NODE_ID,
            NODE_VARIABLE: HEAD_NODE_ID,
            # With 1, which allows several nodes, Ray would replace the loopback address by the machine's own.
            "RAY_ENABLE_WINDOWS_OR_OSX_CLUSTER": "0",
            "RAY_AUTH_MODE": "token",
            "RAY_AUTH_TOKEN_PATH": str(token),
            "RAY_USAGE_STATS_ENABLED": "0",
            "RAY_ENABLE_UV_RUN_RUNTIME_ENV": "0",
            "RAY_SERVE_FORCE_STOP_UNHEALTHY_REPLICAS": "1",
            # As in `kuberay/base/settings.env`.
            "RAY_max_direct_call_object_size": "1048576",
            "RAY_SERVE_DIRECT_INGRESS_MIN_DRAINING_PERIOD_S": "1",
            **self.settings,
        }

    @property
    def url(self) -> str:
        return f"http://{LOOPBACK}:{self.http_port}"

    @contextmanager
    def running(self, applications: list[dict[str, Any]]) -> Iterator[None]:
        """Starts the head and deploys the applications; ends all processes of all nodes."""
        try:
            self.start(
                ["ray", "start", "--head", "--block", f"--port={self.gcs_port}", f"--node-ip-address={LOOPBACK}"],
                ["--num-cpus=0", f"--resources={json.dumps({'api': 2})}", "--include-dashboard=false"],
                [f"--object-store-memory={OBJECT_STORE_BYTES}", f"--temp-dir={self.folder / 'ray'}"],
                ["--min-worker-port=0", "--max-worker-port=0", "--dashboard-agent-listen-port=0"],
                [f"--autoscaling-config={self._autoscaling_file()}"],
            )
            deploying = self.start(self._deploy_command(applications), output=subprocess.PIPE)
            threading.Thread(target=self._read_states, args=[deploying], daemon=True).start()
            yield
        finally:
            self._end_all()

    @property
    def address(self) -> str:
        return f"{LOOPBACK}:{self.gcs_port}"

    def deploy_anew(self, applications: list[dict[str, Any]]) -> None:
        """Replaces every replica of every application; returns when the new ones run."""
        # Another environment is another version for Serve.
        runtime = {"env_vars": {"DEPLOYED_AT": str(time.time())}}
        anew = [{**application, "runtime_env": runtime} for application in applications]
        deploying = self.start(self._deploy_command(anew), ["--until-running"], output=subprocess.PIPE)
        _, _ = deploying.communicate(timeout=DEPLOY_SECONDS)
        assert deploying.returncode == 0, self.log()

    def _deploy_command(self, applications: list[dict[str, Any]]) -> list[str]:
        file = self.folder / "serve.json"
        options = {"host": LOOPBACK, "port": self.http_port}
        file.write_text(
            json.dumps({"proxy_location": "HeadOnly", "http_options": options, "applications": applications})
        )
        program = Path(__file__).parents[1] / "programs" / "deploy_on_cluster.py"
        return [sys.executable, str(program), self.address, str(file)]

    def wait_for_state(self, seconds: float, what: str, is_wanted: Callable[[ClusterState], bool]) -> ClusterState:
        """Waits until the latest state is the wanted one."""
        with self._changed:
            self._changed.wait_for(lambda: bool(self.states) and is_wanted(self.states[-1]), timeout=seconds)
            assert self.states, f"the applications were not deployed: {self.log()}"
            assert is_wanted(self.states[-1]), f"not in {seconds} s: {what}: {self.states[-1]}\n{self.log()}"
            return self.states[-1]

    def drain(self, node_id: str, seconds: int) -> None:
        """Drains a node as an operator does: it ends after so long at the latest. Returns when it is empty, or then."""
        done = subprocess.run(
            [sys.executable, "-m", "cluster.cli.app", "ops", "drain", node_id, f"--deadline={seconds}"],
            env=self._environment | {"RAY_ADDRESS": self.address},
            check=False,
        )
        assert done.returncode in {0, CommandExitCode.TRY_AGAIN}, done

    def kill_node(self, node_id: str) -> None:
        """Ends all processes of a node at once."""
        raylet = next(
            process
            for process in self._descendants()
            if _name(process) == "raylet" and process.environ().get(NODE_VARIABLE) == node_id
        )
        for process in [raylet, *raylet.children(recursive=True)]:
            with suppress(psutil.NoSuchProcess):
                process.kill()

    def kill_api(self) -> None:
        """Ends the process of the API's replica."""
        title = "ServeReplica:api:"
        replica = next(process for process in self._descendants() if title in "".join(_command_line(process)))
        replica.kill()

    def log(self) -> str:
        """The end of the head's output."""
        return (self.folder / "head.log").read_text()[-2000:]

    def _autoscaling_file(self) -> Path:
        file = self.folder / "autoscaling.json"
        provider = {"type": "external", "module": PROVIDER, "launch_multiple": True, "disable_node_updaters": True}
        types: dict[str, Any] = {"ray.head.default": {"resources": {"api": 2}, "node_config": {}, "max_workers": 0}}
        for name, group in self.groups.items():
            resources = {**group["resources"], "object_store_memory": OBJECT_STORE_BYTES}
            labels = {**group.get("labels", {}), GROUP_LABEL: name}
            types[name] = {**group, "resources": resources, "labels": labels, "node_config": {}, "min_workers": 0}
        max_nodes = sum(group["max_workers"] for group in self.groups.values())
        file.write_text(
            json.dumps(
                {
                    "cluster_name": "test",
                    "max_workers": max_nodes,
                    "upscaling_speed": max_nodes,
                    "idle_timeout_minutes": self.idle_seconds / 60,
                    "provider": provider | {"head_node_id": HEAD_NODE_ID, "gcs_address": self.address},
                    "head_node_type": "ray.head.default",
                    "available_node_types": types,
                    **UNUSED_FIELDS,
                }
            )
        )
        return file

    def start(self, *arguments: list[str], output: int | None = None) -> subprocess.Popen[str]:
        """Starts a program with the environment of the cluster; it ends with the cluster at the latest."""
        with (self.folder / "head.log").open("a") as log:
            process = subprocess.Popen(
                [argument for part in arguments for argument in part],
                env=self._environment,
                stdout=output or log,
                stderr=log,
                text=True,
                start_new_session=True,
            )
        self._processes.append(process)
        return process

    def _read_states(self, process: subprocess.Popen[str]) -> None:
        assert process.stdout is not None
        started = time.monotonic()
        for line in process.stdout:
            # Ray prints what happens to the nodes beside them.
            if not line.startswith("{"):
                continue
            values = json.loads(line)
            state = ClusterState(time.monotonic() - started, values["nodes"], values["replicas"], values["statuses"])
            with self._changed:
                self.states.append(state)
                self._changed.notify_all()

    def _descendants(self) -> list[psutil.Process]:
        found = []
        for process in self._processes:
            with suppress(psutil.NoSuchProcess):
                found += psutil.Process(process.pid).children(recursive=True)
        return found

    def _end_all(self) -> None:
        everything = [*self._descendants(), *(psutil.Process(p.pid) for p in self._processes if p.poll() is None)]
        for process in everything:
            with suppress(psutil.NoSuchProcess):
                process.kill()
        psutil.wait_procs(everything, 30)
        for child in self._processes:
            child.wait()
            if child.stdout is not None:
                child.stdout.close()


def _name(process: psutil.Process) -> str:
    try:
        return str(process.name())
    except psutil.NoSuchProcess:
        return ""


def _command_line(process: psutil.Process) -> list[str]:
    try:
        return list(process.cmdline())
    except (psutil.NoSuchProcess, psutil.ZombieProcess):
        return []
