"""The ingestion of a prefix as a Ray Job: submitted from outside of the cluster, it runs the command line inside."""

from __future__ import annotations

import shlex
from collections.abc import AsyncIterator, Sequence
from dataclasses import dataclass

from cluster.client.errors import ConnectionFailed

STOPPED_EXIT_CODE = 1
"""Of a job that was stopped, or that did not start: it has no exit code of its own."""


@dataclass(frozen=True, slots=True)
class IngestJob:
    """The arguments of `fotograma ops ingest`. spec: JSON text."""

    url: str
    account: str
    spec: str | None = None
    patterns: Sequence[str] = ()
    concurrency: int = 16
    as_json: bool = False

    def entrypoint(self) -> str:
        """The command line that the cluster runs."""
        options = ["--account", self.account]
        options += [] if self.spec is None else ["--spec", self.spec]
        options += [part for pattern in self.patterns for part in ("--include", pattern)]
        options += ["--concurrency", str(self.concurrency)]
        options += ["--json"] if self.as_json else []
        return shlex.join(["fotograma", "ops", "ingest", self.url, *options])


class JobServer:
    """Ray's job server. address: of the dashboard. Its token is that of the Ray cluster (RAY_AUTH_TOKEN, …_PATH)."""

    def __init__(self, address: str) -> None:
        # The arguments of a job need no Ray.
        from ray.exceptions import RayError  # noqa: PLC0415
        from ray.job_submission import JobSubmissionClient  # noqa: PLC0415

        self._address, self._errors = address, (RayError, ConnectionError, RuntimeError, ValueError)
        try:
            self._client = JobSubmissionClient(address)
        except self._errors as error:
            raise ConnectionFailed(address, str(error)) from error

    def submit(self, job: IngestJob) -> str:
        """Returns the id of the job. Raises ConnectionFailed."""
        try:
            return self._client.submit_job(entrypoint=job.entrypoint(), metadata={"fotograma": "ingest"})
        except self._errors as error:
            raise ConnectionFailed(self._address, str(error)) from error

    async def output(self, job_id: str) -> AsyncIterator[str]:
        """Yields the output of the job until it ends."""
        async for text in self._client.tail_job_logs(job_id):
            yield text

    def exit_code(self, job_id: str) -> int:
        """Returns the exit code of a job that has ended."""
        info = self._client.get_job_info(job_id)
        if info.status == "SUCCEEDED":
            return 0
        return info.driver_exit_code or STOPPED_EXIT_CODE
