"""Ray's dashboard of the running service shows the names that the documents use.

FOTOGRAMA_SCREENSHOTS=docs/img saves pictures of it under load.
"""

from __future__ import annotations

import io
import os
import re
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
import requests
from PIL import Image
from playwright.sync_api import Page, ViewportSize, expect

from tests.support.servers.running_service import Service

SCREENSHOTS = os.environ.get("FOTOGRAMA_SCREENSHOTS")
NAMES = {"api": "Api", "pool": "pool", "maintenance": "maintenance"}
"""Deployments by application."""
VIEWPORT: ViewportSize = {"width": 1280, "height": 940}


@pytest.fixture
def dashboard(service: Service) -> str:
    """The address of Ray's dashboard."""
    found = re.search(r"Dashboard  (http://[^/]+)/", service.output)
    assert found is not None, service.output
    return found[1]


@pytest.fixture
def headers(service: Service) -> dict[str, str]:
    return {"Authorization": f"Bearer {(service.data_dir / 'ray-token').read_text().strip()}"}


def test_applications_deployments_and_actors_have_readable_names(
    request: pytest.FixtureRequest, service: Service, dashboard: str, headers: dict[str, str]
) -> None:
    serve: Any = requests.get(f"{dashboard}/api/serve/applications/", headers=headers, timeout=30).json()
    assert {name: list(app["deployments"]) for name, app in serve["applications"].items()} == {
        name: [deployment] for name, deployment in NAMES.items()
    }
    filters = {"filter_keys": "state", "filter_predicates": "=", "filter_values": "ALIVE"}
    actors: Any = requests.get(f"{dashboard}/api/v0/actors", params=filters, headers=headers, timeout=30).json()
    classes = {actor["class_name"] for actor in actors["data"]["result"]["result"]}
    assert {f"ServeReplica:{name}:{deployment}" for name, deployment in NAMES.items()} <= classes
    if SCREENSHOTS:
        browser, clips = request.getfixturevalue("browser"), request.getfixturevalue("clips")
        with work(service, clips("h264_long")[0], request.getfixturevalue("tmp_path")):
            context = browser.new_context(viewport=VIEWPORT, extra_http_headers=headers)
            save_pictures(context.new_page(), dashboard, Path(SCREENSHOTS) / "ray")
            context.close()


@contextmanager
def work(service: Service, clip: Path, folder: Path) -> Iterator[None]:
    """While the block runs, the workers have something to do."""
    videos = [folder / f"{number}.mp4" for number in range(8)]
    for number, video in enumerate(videos):
        video.write_bytes(clip.read_bytes() + bytes([number]))
    with service.client() as client:
        spec = {"sample": {"mode": "all"}, "image": {"format": "png"}}
        extractions = [video.extraction for video in client.submit(videos, spec=spec)]
        yield
        assert any(not client.extraction(one.id).status.ended for one in extractions), "the work ended before"
        for one in extractions:
            client.cancel(one)


def save_pictures(page: Page, dashboard: str, folder: Path) -> None:
    """Saves the pages Serve, Cluster and Actors."""
    folder.mkdir(parents=True, exist_ok=True)
    page.goto(f"{dashboard}/#/serve")
    for name in NAMES:
        expect(page.get_by_role("link", name=name, exact=True).first).to_be_visible()
    save_picture(page, folder / "serve.webp")
    page.goto(f"{dashboard}/#/cluster")
    node = page.locator("tbody tr").filter(has_text="(Head)")
    expect(node.get_by_text("%").first).to_be_visible()
    # Below the node stand its processes; that of `fotograma up` has the path of its Python.
    place = node.bounding_box()
    assert place is not None
    save_picture(page, folder / "cluster.webp", height=place["y"] + place["height"])
    page.goto(f"{dashboard}/#/actors")
    expect(page.get_by_text("ServeReplica:pool:pool", exact=True).first).to_be_visible()
    save_picture(page, folder / "actors.webp")


def save_picture(page: Page, target: Path, *, height: float = VIEWPORT["height"]) -> None:
    shot = page.screenshot(clip={"x": 0, "y": 0, "width": VIEWPORT["width"], "height": height})
    Image.open(io.BytesIO(shot)).save(target, quality=85, method=6)
