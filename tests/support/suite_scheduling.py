"""The groups of tests that run one after the other in one process; every other test runs in any process."""

from __future__ import annotations

import time

import pytest
from xdist.scheduler import LoadScopeScheduling
from xdist.workermanage import WorkerController

# Two whole services at once would only make each other slow.
WHOLE_SERVICE = {
    "tests/acceptance/test_bucket.py",
    "tests/acceptance/test_documents.py",
    "tests/acceptance/test_in_cluster.py",
    "tests/acceptance/uploads/test_large_upload.py",
    "tests/acceptance/test_main_job.py",
    "tests/acceptance/test_metrics.py",
    "tests/acceptance/page/test_large_video.py",
    "tests/acceptance/page/test_ray_dashboard.py",
    "tests/acceptance/page/test_walk.py",
    "tests/acceptance/test_restarts_in_a_batch.py",
    "tests/acceptance/uploads/test_stalled_uploads.py",
    "tests/acceptance/uploads/test_tus_protocol.py",
    "tests/acceptance/test_up.py",
    "tests/faults/test_up_restarts.py",
    "tests/faults/test_rows_service.py",
}
# A browser, a database of 200,000 rows.
SLOW_SETUP = {
    "tests/acceptance/page/test_account.py",
    "tests/acceptance/page/test_admin.py",
    "tests/acceptance/page/test_frame_choice.py",
    "tests/acceptance/page/test_languages.py",
    "tests/acceptance/page/test_live_events.py",
    "tests/acceptance/page/test_overlays.py",
    "tests/acceptance/page/test_page.py",
    "tests/acceptance/page/test_reused_context.py",
    "tests/acceptance/page/test_stored_videos.py",
    "tests/acceptance/page/test_upload_queue.py",
    "tests/acceptance/page/test_uploads.py",
    "tests/acceptance/page/test_video_view.py",
    "tests/integration/db/test_queue_query_plans.py",
}


class ProcessEnds:
    """Prints how long each process of the suite worked: one that works alone at the end makes the suite longer."""

    def __init__(self) -> None:
        self._start, self._ends = time.monotonic(), dict[str, float]()

    @pytest.hookimpl(optionalhook=True)
    def pytest_testnodedown(self, node: WorkerController) -> None:
        self._ends[node.gateway.id] = time.monotonic() - self._start

    def pytest_terminal_summary(self, terminalreporter: pytest.TerminalReporter) -> None:
        for name, seconds in self._ends.items():
            terminalreporter.write_line(f"process {name} worked until second {seconds:.0f}")


class SuiteScheduling(LoadScopeScheduling):  # type: ignore[misc]  # xdist has no types
    """Starts the group with the most tests first, because its tests wait most."""

    def _split_scope(self, nodeid: str) -> str:
        return scheduling_group(nodeid)


def scheduling_group(nodeid: str) -> str:
    """Tests of one group run in one process."""
    path = nodeid.partition("::")[0]
    if path in WHOLE_SERVICE:
        return "whole service"
    return path if path in SLOW_SETUP else nodeid
