"""Why an operator's command can't do its work. Each message has its remedy in it."""

from __future__ import annotations

from pathlib import Path

from cluster.client.errors import FotogramaError


class OperationError(FotogramaError):
    """The command was refused, and has changed nothing."""


class NoService(OperationError):
    """Neither the environment nor a running `fotograma up` names a database."""

    def __init__(self, data_dir: Path) -> None:
        super().__init__(f"No service runs on {data_dir}. Start it with `fotograma up`, or set FOTOGRAMA_DATABASE_URL.")


class MissingSetting(OperationError):
    """The command needs a setting that the environment does not have."""

    def __init__(self, variable: str, purpose: str) -> None:
        super().__init__(f"{variable} is not set: {purpose}. Set it as it is set for the service.")


class NoAccount(OperationError):
    """No account has this e-mail address."""

    def __init__(self, email: str) -> None:
        super().__init__(f"There is no account {email}. Create it first: fotograma login --register")


class ServerAway(OperationError):
    """A server of the service does not answer."""

    default_code = "connection_failed"

    def __init__(self, server: str, reason: str) -> None:
        super().__init__(f"{server} does not answer: {reason}. Try again; `fotograma ops doctor` says more.")


class StoreRefused(OperationError):
    """The object store does not let the credentials do it. code: as the store has it."""

    def __init__(self, code: str) -> None:
        super().__init__(
            f"The object store refuses the access ({code}). `fotograma ops doctor` says which right is missing."
        )


class WrongSchema(OperationError):
    """The database does not have the tables that this version needs."""

    def __init__(self) -> None:
        super().__init__(
            "The database does not have the schema of this version. Use the fotograma of the service's own version, or "
            "migrate the database first."
        )
