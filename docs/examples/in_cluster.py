"""Code in the Ray cluster has a video extracted by a Serve handle. It may be a job, an actor, or another deployment.

ray job submit --working-dir docs/examples -- python in_cluster.py ana@example.com s3://footage/clip.mp4
"""

import asyncio
import sys
import zipfile
from pathlib import Path

from cluster.submit.service_handle import ServiceHandle


async def main(account: str, url: str) -> None:
    service = ServiceHandle.connect(account)
    submission = await service.submit(url, {"sample": {"mode": "keyframes"}})
    extraction = await service.wait(submission.video.extraction, timeout_seconds=300)
    path = await service.download(extraction, Path("frames.zip"))
    with zipfile.ZipFile(path) as archive:
        print("\n".join(archive.namelist()))


if __name__ == "__main__":
    asyncio.run(main(sys.argv[1], sys.argv[2]))
