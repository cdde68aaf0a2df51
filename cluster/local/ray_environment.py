"""The environment of Ray and all its processes: the only way in which settings and secrets reach the replicas."""

from __future__ import annotations

import os
import sys
from collections.abc import Mapping
from pathlib import Path

from cluster.local.data_dir import DataDir, api_sockets, part_states_file, ray_folder
from cluster.local.secret_files import Secrets

# Variables that name another cluster, or the token of another one.
FOREIGN = ("RAY_ADDRESS", "RAY_NAMESPACE", "RAY_AUTH_TOKEN", "RAY_RUNTIME_ENV", "RAY_JOB_CONFIG_JSON_ENV_VAR")

# They make Serve listen on every interface. On one machine HAProxy is in front of the API (`embedded_haproxy`).
INGRESS = ("RAY_SERVE_ENABLE_HA_PROXY", "RAY_SERVE_ENABLE_DIRECT_INGRESS")

# A dozen processes import the same thousand modules: without bytecode each of them compiles all of them anew, which
# takes more than half of the start.
SLOW = ("PYTHONDONTWRITEBYTECODE",)


def changes(
    given: Mapping[str, str],
    data_dir: DataDir,
    secrets: Secrets,
    *,
    addresses: Mapping[str, str],
    url: str,
    workers: int,
    run_folder: Path,
) -> dict[str, str | None]:
    """Returns the changes: a value to set, or None to remove the variable. `given` goes before the defaults.

    given: the present environment. addresses: FOTOGRAMA_… variables of the servers. url: of the page.
    run_folder: the temporary one.
    """
    defaults = {
        "FOTOGRAMA_SECRET_KEY": secrets.secret_key,
        "FOTOGRAMA_PUBLIC_URL": url,
        # A replica behind HAProxy reads a body no faster than it stores it.
        "FOTOGRAMA_UPLOAD_REQUEST_MAX_BYTES": "",
        "FOTOGRAMA_SCRATCH": str(data_dir.scratch),
        # The receiver of a webhook often runs on the same machine.
        "FOTOGRAMA_WEBHOOK_REACH": "loopback",
        # Without a Grafana, Ray's dashboard would show a page of metrics that only tells how to install one.
        "RAY_GRAFANA_HOST": "DISABLED",
    }
    fixed = {
        **addresses,
        # The entrypoint of a Ray job finds this `fotograma` and this `python`, in whatever way they were installed.
        "PATH": os.pathsep.join([str(Path(sys.executable).parent), given.get("PATH", os.defpath)]),
        "FOTOGRAMA_WORKERS": str(workers),
        "FOTOGRAMA_SUPERVISOR_STATE": str(part_states_file(run_folder)),
        "FOTOGRAMA_API_SOCKETS": str(api_sockets(run_folder)),
        "RAY_AUTH_MODE": "token",
        "RAY_AUTH_TOKEN_PATH": str(data_dir.ray_token),
        "RAY_TMPDIR": str(ray_folder(run_folder)),
        # A restarted GCS finds its state again.
        "RAY_gcs_storage": "rocksdb",
        "RAY_gcs_storage_path": str(ray_folder(run_folder) / "gcs"),
        # With 1, which allows several nodes, Ray would replace the loopback address by the machine's own. With 0 every
        # port of Ray listens on the loopback address only.
        "RAY_ENABLE_WINDOWS_OR_OSX_CLUSTER": "0",
        "RAY_USAGE_STATS_ENABLED": "0",
        # Under `uv run` Ray would create the virtual environment again for every worker.
        "RAY_ENABLE_UV_RUN_RUNTIME_ENV": "0",
        "RAY_ACCEL_ENV_VAR_OVERRIDE_ON_ZERO": "0",
        "RAY_SERVE_FORCE_STOP_UNHEALTHY_REPLICAS": "1",
        # What it measures is 28 series of metrics for each replica, which nobody reads.
        "RAY_SERVE_EVENT_LOOP_MONITORING_INTERVAL_S": "86400",
        # By default Serve looks at its replicas every 0.1 s. With 0.3 s an idle service without the dashboard takes
        # 17 % of a core instead of 20 %, and is ready as soon.
        "RAY_SERVE_CONTROL_LOOP_INTERVAL_S": "0.3",
        # By default Ray gives its workers, the API among them, the least share of a busy machine (15).
        "RAY_worker_niceness": "0",
    }
    return {
        **dict.fromkeys((*FOREIGN, *INGRESS, *SLOW)),
        **{name: given.get(name) or value for name, value in defaults.items()},
        **fixed,
    }
