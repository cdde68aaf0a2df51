"""One running system for all acceptance tests that do not start their own."""

from collections.abc import Iterator

import pytest

from tests.service import Inbox, Service


@pytest.fixture(scope="session")
def inbox() -> Iterator[Inbox]:
    with Inbox() as inbox:
        yield inbox


@pytest.fixture(scope="session")
def service(tmp_path_factory: pytest.TempPathFactory, inbox: Inbox) -> Iterator[Service]:
    """Two workers, short leases, and a mail server."""
    settings = {
        "FOTOGRAMA_LEASE_SECONDS": "5",
        "FOTOGRAMA_HEARTBEAT_SECONDS": "1",
        "FOTOGRAMA_SMTP_URL": inbox.url,
        "FOTOGRAMA_MAIL_FROM": "Fotograma <fotograma@example.org>",
    }
    service = Service(tmp_path_factory.mktemp("service") / "home", environment=settings)
    service.start()
    yield service
    assert service.stop() == 0
