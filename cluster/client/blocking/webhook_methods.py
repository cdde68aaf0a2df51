"""The methods of `Client` for webhooks."""

from __future__ import annotations

from collections.abc import Sequence

from cluster.client.account_types import Delivery, Webhook
from cluster.client.blocking.flow_runner import BlockingFlowRunner
from cluster.client.calls import webhook_calls


class WebhookMethods(BlockingFlowRunner):
    def webhooks(self) -> tuple[Webhook, ...]:
        """Returns the account's webhooks, newest first.

        >>> [webhook.url for webhook in client.webhooks()]
        ['https://example.org/hook']
        """
        return self._call(webhook_calls.list_webhooks(self._session))

    def add_webhook(
        self, url: str, events: Sequence[str] | None = None, *, idempotency_key: str | None = None
    ) -> Webhook:
        """Adds a webhook. Only this response has its secret. events: such as `extraction.failed`; None: all.

        >>> client.add_webhook("https://example.org/hook", ["extraction.failed"]).secret
        'whsec_c2VjcmV0'
        """
        return self._call(webhook_calls.add_webhook(self._session, url, events, idempotency_key))

    def delete_webhook(self, webhook: Webhook | str) -> None:
        """Deletes a webhook and its pending notifications.

        >>> client.delete_webhook(client.webhooks()[0])
        """
        self._call(webhook_calls.delete_webhook(self._session, webhook))

    def deliveries(self, webhook: Webhook | str) -> tuple[Delivery, ...]:
        """Returns the deliveries to a webhook, newest first.

        >>> [delivery.status for delivery in client.deliveries(client.webhooks()[0])]
        ['delivered']
        """
        return self._call(webhook_calls.deliveries(self._session, webhook))

    def redeliver(self, webhook: Webhook | str, delivery: Delivery | str) -> Delivery:
        """Sends a delivery again, under the same id. Raises WrongState when the webhook is switched off.

        >>> webhook = client.webhooks()[0]
        >>> client.redeliver(webhook, client.deliveries(webhook)[0]).status
        'pending'
        """
        return self._call(webhook_calls.redeliver(self._session, webhook, delivery))
