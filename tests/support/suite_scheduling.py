"""The groups of tests that run one after the other in one process; every other test runs in any process."""

from __future__ import annotations

from xdist.scheduler import LoadScopeScheduling

# Two whole services at once would only make each other slow.
WHOLE_SERVICE = {
    "tests/acceptance/test_bucket.py",
    "tests/acceptance/test_large_upload.py",
    "tests/acceptance/test_main_job.py",
    "tests/acceptance/test_page_large_video.py",
    "tests/acceptance/test_restarts_in_a_batch.py",
    "tests/acceptance/test_stalled_uploads.py",
    "tests/acceptance/test_tus_protocol.py",
    "tests/acceptance/test_up.py",
    "tests/acceptance/test_up_restarts.py",
    "tests/faults/test_rows_service.py",
}
# A browser, a database of 200,000 rows.
SLOW_SETUP = {
    "tests/acceptance/test_page.py",
    "tests/acceptance/test_page_upload_queue.py",
    "tests/acceptance/test_page_uploads.py",
    "tests/integration/db/test_queue_query_plans.py",
}


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
