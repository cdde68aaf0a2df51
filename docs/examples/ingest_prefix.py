"""A Ray Job submits every video below a prefix of a bucket, each once.

    RAY_AUTH_MODE=token RAY_AUTH_TOKEN_PATH=~/.fotograma/ray-token \
        python ingest_prefix.py http://127.0.0.1:8265 ana@example.com s3://footage/2026
"""

import asyncio
import shlex
import sys

from ray.job_submission import JobSubmissionClient


async def main(dashboard: str, account: str, prefix: str) -> int:
    client = JobSubmissionClient(dashboard)
    command = ["fotograma", "ops", "ingest", prefix, "--account", account, "--mode", "keyframes", "--include", "*.mp4"]
    job_id = client.submit_job(entrypoint=shlex.join(command))
    async for text in client.tail_job_logs(job_id):
        print(text, end="")
    # A job that was stopped has no exit code. The same job again does the rest.
    return client.get_job_info(job_id).driver_exit_code or 0


if __name__ == "__main__":
    sys.exit(asyncio.run(main(sys.argv[1], sys.argv[2], sys.argv[3])))
