"""Speed and memory of one large body.

A client sends a body to an application that only reads it: as fast as it can, and as slowly as a store of 200 MB/s. The
ingress between them is in turn: uvicorn alone, Serve's proxy, Serve's HAProxy mode, and that of `fotograma up`. Memory
is the growth of the resident set of the proxies and of the replica while they pass the body on.
"""

from __future__ import annotations

import json
import socket
import time
from collections.abc import Iterator
from statistics import median

from benchmarks.process_measurement import Row
from benchmarks.service_memory import sampled_peak
from benchmarks.upload.ingresses import INGRESSES, Ingress

PIECE = bytes(1 << 20)
SLOW_BYTES_PER_SECOND = 200_000_000
MEGABYTE, KIBIBYTE = 1_000_000, 1024


def send(port: int, size: int, rate: int) -> float:
    """Sends a body of `size` bytes in one request. Returns the seconds until the response."""
    with socket.create_connection(("127.0.0.1", port)) as client:
        start = time.perf_counter()
        head = f"POST /?rate={rate} HTTP/1.1\r\nHost: localhost\r\nContent-Length: {size}\r\nConnection: close\r\n\r\n"
        client.sendall(head.encode())
        remaining = size
        while remaining:
            remaining -= client.send(PIECE[:remaining])
        response = b"".join(iter(lambda: client.recv(1 << 16), b""))
        seconds = time.perf_counter() - start
    assert json.loads(response.partition(b"\r\n\r\n")[2].strip()) == {"bytes": size}, response
    return seconds


def measure(name: str, ingress: Ingress, size: int, rounds: int) -> Iterator[Row]:
    send(ingress.port, 10 * MEGABYTE, 0)
    for speed, rate, times in (("fast", 0, rounds), ("slow", SLOW_BYTES_PER_SECOND, 1)):
        speeds, proxies, replicas = [], [], []
        for _ in range(times):
            before = [ingress.resident_kibibytes(pids) for pids in (ingress.proxies, ingress.replicas)]
            with (
                sampled_peak(lambda: ingress.resident_kibibytes(ingress.proxies)) as proxy,
                sampled_peak(lambda: ingress.resident_kibibytes(ingress.replicas)) as replica,
            ):
                speeds.append(round(size / send(ingress.port, size, rate) / MEGABYTE))
            proxies.append(max(0, round((proxy.kibibytes - before[0]) * KIBIBYTE / MEGABYTE)))
            replicas.append(max(0, round((replica.kibibytes - before[1]) * KIBIBYTE / MEGABYTE)))
        yield Row(f"{name}/{speed}", "MB/s", median(speeds), tuple(speeds))
        yield Row(f"{name}/{speed}/proxy", "MB", max(proxies), tuple(proxies))
        yield Row(f"{name}/{speed}/replica", "MB", max(replicas), tuple(replicas))


def measure_all(size: int, rounds: int) -> Iterator[Row]:
    for name, open_ingress in INGRESSES.items():
        with open_ingress() as ingress:
            yield from measure(name, ingress, size, rounds)


def table(rows: list[Row]) -> Iterator[str]:
    """The rows as Markdown."""
    yield "| between client and application | MB/s | memory, proxy + replica | from a slow application, MB/s | memory |"
    yield "| --- | ---: | ---: | ---: | ---: |"
    values = {row.name: row.value for row in rows}
    for name in INGRESSES:
        cells = []
        for speed in ("fast", "slow"):
            proxy, replica = values[f"{name}/{speed}/proxy"], values[f"{name}/{speed}/replica"]
            cells += [f"{values[f'{name}/{speed}']:.0f}", f"{proxy:.0f} + {replica:.0f} MB"]
        yield f"| {name} | {' | '.join(cells)} |"
