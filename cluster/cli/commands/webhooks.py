"""The commands for webhooks: `fotograma webhooks …`."""

from __future__ import annotations

from contextlib import AbstractContextManager
from typing import TYPE_CHECKING, Annotated

import typer

from cluster.cli.shared_options import Timeout, example

if TYPE_CHECKING:
    from cluster.client.account_types import Delivery, Webhook
    from cluster.client.sync_client import Client

webhooks = typer.Typer(
    help="Manage webhooks: URLs that get a message when an extraction ends.",
    epilog=example("fotograma webhooks add https://example.org/hook"),
    no_args_is_help=True,
)

WebhookId = Annotated[str, typer.Argument(metavar="WEBHOOK", help="Id of a webhook.", show_default=False)]
DeliveryId = Annotated[str, typer.Argument(metavar="DELIVERY", help="Id of a delivery.", show_default=False)]


@webhooks.command(epilog=example("fotograma webhooks add https://example.org/hook --event extraction.failed"))
def add(
    url: Annotated[str, typer.Argument(metavar="URL", help="URL to which messages are sent.", show_default=False)],
    events: Annotated[
        list[str] | None,
        typer.Option("--event", metavar="TYPE", help="Send only this type of message. Can be given several times."),
    ] = None,
    timeout: Timeout = None,
) -> None:
    """Add a webhook and show its secret. The secret is shown only this once."""
    with _client(timeout) as client:
        webhook = client.add_webhook(url, events or None)
    typer.echo(webhook_line(webhook))
    typer.echo(f"Secret: {webhook.secret}")


@webhooks.command("list", epilog=example("fotograma webhooks list"))
def list_(timeout: Timeout = None) -> None:
    """List the webhooks, newest first."""
    with _client(timeout) as client:
        for webhook in client.webhooks():
            typer.echo(webhook_line(webhook))


@webhooks.command(epilog=example("fotograma webhooks delete 01890c5e-7b1a-7c3e-9f00-2b6c1d8e4a10"))
def delete(webhook: WebhookId, timeout: Timeout = None) -> None:
    """Delete a webhook and its pending messages."""
    with _client(timeout) as client:
        client.delete_webhook(webhook)


@webhooks.command(epilog=example("fotograma webhooks deliveries 01890c5e-7b1a-7c3e-9f00-2b6c1d8e4a10"))
def deliveries(webhook: WebhookId, timeout: Timeout = None) -> None:
    """List the deliveries to a webhook, newest first."""
    with _client(timeout) as client:
        for delivery in client.deliveries(webhook):
            typer.echo(delivery_line(delivery))


@webhooks.command(
    epilog=example(
        "fotograma webhooks redeliver 01890c5e-7b1a-7c3e-9f00-2b6c1d8e4a10 01890c5e-7b1a-7c3e-9f00-2b6c1d8e4a7f"
    )
)
def redeliver(webhook: WebhookId, delivery: DeliveryId, timeout: Timeout = None) -> None:
    """Send a delivery again."""
    with _client(timeout) as client:
        typer.echo(delivery_line(client.redeliver(webhook, delivery)))


def webhook_line(webhook: Webhook) -> str:
    """Returns one webhook as text."""
    state = "on" if webhook.disabled_at is None else "off"
    return f"{webhook.id}  {state:<4} {webhook.url}  {', '.join(webhook.events)}"


def delivery_line(delivery: Delivery) -> str:
    """Returns one delivery as text, with the outcome of its last attempt."""
    last = delivery.tries[-1] if delivery.tries else None
    outcome = "" if last is None else last.error or f"answered {last.status} in {last.milliseconds} ms"
    line = f"{delivery.id}  {delivery.status:<10}{delivery.type:<22}{delivery.extraction_id}  {outcome}"
    return line.rstrip()


def _client(timeout: float | None) -> AbstractContextManager[Client]:
    from cluster.cli.service_client import open_client  # noqa: PLC0415

    return open_client(timeout)
