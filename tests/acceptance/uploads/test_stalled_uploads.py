"""Many clients that send at once while the application stands still: the memory of the service stays as it is.

Each of 50 clients sends 16 MB. With FOTOGRAMA_SUITE=full it sends 400 MB, and 25 GB of free disk space are needed.
"""

from __future__ import annotations

import os

from tests.support.clients.eager_uploads import growth_while_clients_stall
from tests.support.servers.running_service import Service

FULL = os.environ.get("FOTOGRAMA_SUITE") == "full"
UPLOAD_BYTES = 400_000_000 if FULL else 16_000_000
BOUND_KIBIBYTES = 100_000_000 // 1024
MAX_SECONDS = 2400 if FULL else 240


async def test_memory_stays_when_50_clients_send_while_the_application_stands_still(service: Service) -> None:
    grown = await growth_while_clients_stall(service, UPLOAD_BYTES, MAX_SECONDS)
    print(f"KiB: {grown}")
    assert max(grown.values()) < BOUND_KIBIBYTES, grown
