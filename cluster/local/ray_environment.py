"""The environment that Ray and every process below it inherit: the only way of settings and secrets to the replicas."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

from cluster.local.data_dir import DataDir
from cluster.local.secret_files import Secrets

# They name another cluster, or another token for it.
FOREIGN = ("RAY_ADDRESS", "RAY_NAMESPACE", "RAY_AUTH_TOKEN", "RAY_RUNTIME_ENV", "RAY_JOB_CONFIG_JSON_ENV_VAR")

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
    ray_folder: Path,
    supervisor_state: Path,
) -> dict[str, str | None]:
    """What is set, or removed where it says None. What the person who starts it has set goes first, where it may.

    given: the environment as it is. addresses: FOTOGRAMA_… variables of the servers. url: of the page.
    """
    wished = {
        "FOTOGRAMA_SECRET_KEY": secrets.secret_key,
        "FOTOGRAMA_PUBLIC_URL": url,
        "FOTOGRAMA_SCRATCH": str(data_dir.scratch),
        # On one's own machine the receiver is often there as well.
        "FOTOGRAMA_WEBHOOK_REACH": "loopback",
    }
    fixed = {
        **addresses,
        "FOTOGRAMA_WORKERS": str(workers),
        "FOTOGRAMA_SUPERVISOR_STATE": str(supervisor_state),
        "RAY_AUTH_MODE": "token",
        "RAY_AUTH_TOKEN_PATH": str(data_dir.ray_token),
        "RAY_TMPDIR": str(ray_folder),
        # A GCS that dies finds its state again when it is started anew.
        "RAY_gcs_storage": "rocksdb",
        "RAY_gcs_storage_path": str(ray_folder / "gcs"),
        # The switch for more than one node. Without it the address that Ray is given, that of the loopback interface,
        # stays as it is, and every port of Ray listens there alone; else Ray puts the machine's own in its place.
        "RAY_ENABLE_WINDOWS_OR_OSX_CLUSTER": "0",
        "RAY_USAGE_STATS_ENABLED": "0",
        # Under `uv run` Ray would make the virtual environment anew for every worker.
        "RAY_ENABLE_UV_RUN_RUNTIME_ENV": "0",
        "RAY_ACCEL_ENV_VAR_OVERRIDE_ON_ZERO": "0",
        "RAY_SERVE_FORCE_STOP_UNHEALTHY_REPLICAS": "1",
        # In 5 s a busy machine has not started the proxy, and Serve would kill it and give up.
        "RAY_SERVE_PROXY_READY_CHECK_TIMEOUT_S": "60",
        # Ray gives its workers the least share of a busy machine (15), the API among them.
        "RAY_worker_niceness": "0",
    }
    return {
        **dict.fromkeys((*FOREIGN, *SLOW)),
        **{name: given.get(name) or value for name, value in wished.items()},
        **fixed,
    }
