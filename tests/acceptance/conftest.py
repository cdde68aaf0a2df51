"""One running system for all acceptance tests that do not start their own."""

import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.support.running_service import Inbox, Service


@pytest.fixture(scope="package")
def inbox() -> Iterator[Inbox]:
    with Inbox() as inbox:
        yield inbox


@pytest.fixture(scope="package")
def service(inbox: Inbox) -> Iterator[Service]:
    """With the demonstration, two workers, short leases and a mail server, in a home whose path has a blank.

    A test that ends it starts it again. It ends before other folders' tests, whose machine it would keep busy.
    """
    settings = {
        "FOTOGRAMA_LEASE_SECONDS": "5",
        "FOTOGRAMA_HEARTBEAT_SECONDS": "1",
        "FOTOGRAMA_SMTP_URL": inbox.url,
        "FOTOGRAMA_MAIL_FROM": "Fotograma <fotograma@example.org>",
    }
    with tempfile.TemporaryDirectory(prefix="fotograma acceptance ", dir="/tmp") as folder:
        Path(folder).chmod(0o755)
        service = Service(Path(folder) / "my home", arguments=["--demo"], environment=settings)
        service.start()
        yield service
        assert service.terminate() == 0, service.output
