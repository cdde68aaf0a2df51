"""One running service for all acceptance tests that do not start their own."""

import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.support.servers.listening_sockets import ListeningSocket, sockets_of_hidden_processes
from tests.support.servers.postgres_wheel import link_postgres_wheel
from tests.support.servers.running_service import Inbox, Service


@pytest.fixture(scope="package")
def inbox() -> Iterator[Inbox]:
    with Inbox() as inbox:
        yield inbox


@pytest.fixture(scope="package")
def sockets_of_others() -> set[ListeningSocket]:
    """What other services of this user listen on, as far as it can't be told whose sockets they are."""
    return sockets_of_hidden_processes()


@pytest.fixture(scope="package")
def service(inbox: Inbox, sockets_of_others: set[ListeningSocket]) -> Iterator[Service]:
    """A service with the demonstration, two workers, short leases and a mail server. Its path contains a blank.

    Its data directory, its temporary files and PostgreSQL's programs are in a folder that no other user can enter, as
    for root in a container. A test that ends the service starts it again. The service ends before the tests of other
    folders, because it would slow them down. The sockets of others are found before it has its own.
    """
    settings = {
        "FOTOGRAMA_LEASE_SECONDS": "5",
        "FOTOGRAMA_HEARTBEAT_SECONDS": "1",
        "FOTOGRAMA_SMTP_URL": inbox.url,
        "FOTOGRAMA_MAIL_FROM": "Fotograma <fotograma@example.org>",
    }
    with tempfile.TemporaryDirectory(prefix="fotograma acceptance ", dir="/tmp") as name:
        folder = Path(name)
        assert folder.stat().st_mode & 0o777 == 0o700
        (folder / "tmp").mkdir()
        link_postgres_wheel(folder / "packages")
        settings |= {"HOME": name, "TMPDIR": str(folder / "tmp"), "PYTHONPATH": str(folder / "packages")}
        service = Service(
            folder / "my data", arguments=["--demo"], environment=settings, popen_options={"umask": 0o077}
        )
        with service.running():
            yield service
