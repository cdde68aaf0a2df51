"""Submits extractions at an even pace, waits until they have ended, and counts what was lost.

    python submissions.py [--repeat] [--slow] URL COUNT SECONDS

A submission that is not accepted counts as lost, and so does an accepted one that does not succeed with all frames. The
exit code is 1 when one was lost. A submission is one request; with --repeat the client repeats it, as clients do by
default. With --slow each extraction takes seconds, so that nodes end in the middle of one. On Kubernetes it runs in a
pod, which has no other file of the tests. It prints `begin` before the first submission, and `running N` when another
number of extractions is worked on.
"""

from __future__ import annotations

import argparse
import asyncio
import secrets
import sys
import tempfile
from pathlib import Path
from typing import Any

from cluster.local.sample_clips import CLOCK_SECONDS, write_samples
from fotograma import AsyncClient, Extraction, FotogramaError, RetryPolicy, Status, Video

SMALLEST_SIDE, LARGEST_SIDE = 16, 640
"""Each extraction has images of its own size, so that none takes the result of another."""
FRAMES = 25 * CLOCK_SECONDS
CONCURRENT_WAITS = 20
Spec = dict[str, Any]


def spec_of(number: int, *, slow: bool) -> Spec:
    """What a submission asks for."""
    image: Spec = {"max_side": SMALLEST_SIDE + number}
    if slow:
        image = {"max_side": LARGEST_SIDE - number, "format": "png"}
    return {"sample": {"mode": "all"}, "image": image}


async def submit(client: AsyncClient, video: Video, spec: Spec, number: int) -> str | None:
    """The id of the extraction; None when it was not accepted."""
    try:
        return (await client.extract_again(video, spec)).id
    except FotogramaError as error:
        print(f"submission {number} was not accepted: {error}", flush=True)
        return None


async def submit_all(client: AsyncClient, video: Video, specs: list[Spec], seconds: float) -> list[str | None]:
    """The ids of what was accepted. A late response delays no other submission."""
    loop = asyncio.get_running_loop()
    begin = loop.time()
    async with asyncio.TaskGroup() as group:
        submissions = []
        for number, spec in enumerate(specs):
            await asyncio.sleep(max(0.0, begin + number * seconds / len(specs) - loop.time()))
            submissions.append(group.create_task(submit(client, video, spec, number)))
    return [submission.result() for submission in submissions]


def print_running(running: set[str], extraction: Extraction) -> None:
    """Says how many extractions are being worked on, when this changes."""
    before = len(running)
    if extraction.status is Status.RUNNING:
        running.add(extraction.id)
    else:
        running.discard(extraction.id)
    if len(running) != before:
        print(f"running {len(running)}", flush=True)


async def has_succeeded(client: AsyncClient, extraction_id: str, turn: asyncio.Semaphore, running: set[str]) -> bool:
    """Waits until the extraction has ended. Returns whether it has all frames. running: ids, of all waits."""
    async with turn:
        ended = await client.wait(extraction_id, on_progress=lambda extraction: print_running(running, extraction))
    print_running(running, ended)
    succeeded = ended.status is Status.SUCCEEDED and ended.result is not None and ended.result.frames == FRAMES
    if not succeeded:
        print(f"{extraction_id} {ended.status}: {ended.error or ended.result}", flush=True)
    return succeeded


async def run(url: str, *, count: int, seconds: float, repeat: bool, slow: bool) -> int:
    """Returns how many submissions were lost."""
    # The client that waits repeats its requests while the service is away.
    patient = RetryPolicy(attempts=None, patience_seconds=600)
    async with AsyncClient(url, retry=patient) as client:
        email, password = f"{secrets.token_hex(8)}@example.org", secrets.token_hex(16)
        await client.register(email, password)
        await client.login(email, password)
        with tempfile.TemporaryDirectory() as folder:
            clip = next(path for path in write_samples(Path(folder)) if path.name == "clock.mp4")
            video = await client.upload(clip)
        key = (await client.add_api_key("submissions")).secret
        print("begin", flush=True)
        async with AsyncClient(url, key, retry=RetryPolicy() if repeat else RetryPolicy(attempts=1)) as submitter:
            ids = await submit_all(submitter, video, [spec_of(number, slow=slow) for number in range(count)], seconds)
        accepted = [id_ for id_ in ids if id_ is not None]
        print(f"submitted {count}, accepted {len(accepted)}", flush=True)
        turn, running = asyncio.Semaphore(CONCURRENT_WAITS), set[str]()
        succeeded = sum(await asyncio.gather(*(has_succeeded(client, id_, turn, running) for id_ in accepted)))
    print(f"submitted {count}, accepted {len(accepted)}, succeeded {succeeded}, lost {count - succeeded}", flush=True)
    return count - succeeded


def main() -> int:
    """Returns the exit code."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("url", metavar="URL")
    parser.add_argument("count", metavar="COUNT", type=int)
    parser.add_argument("seconds", metavar="SECONDS", type=float)
    parser.add_argument("--repeat", action="store_true")
    parser.add_argument("--slow", action="store_true")
    arguments = parser.parse_args()
    return min(1, asyncio.run(run(**vars(arguments))))


if __name__ == "__main__":
    sys.exit(main())
