"""The methods of `AsyncClient` for webhooks."""

from __future__ import annotations

from collections.abc import Sequence

from cluster.client.account_types import Delivery, Webhook
from cluster.client.asynchronous.flow_runner import AsyncFlowRunner
from cluster.client.calls import webhook_calls


class AsyncWebhookMethods(AsyncFlowRunner):
    async def webhooks(self) -> tuple[Webhook, ...]:
        """As `Client.webhooks`."""
        return await self._call(webhook_calls.list_webhooks(self._session))

    async def add_webhook(
        self, url: str, events: Sequence[str] | None = None, *, idempotency_key: str | None = None
    ) -> Webhook:
        """As `Client.add_webhook`."""
        return await self._call(webhook_calls.add_webhook(self._session, url, events, idempotency_key))

    async def delete_webhook(self, webhook: Webhook | str) -> None:
        """As `Client.delete_webhook`."""
        await self._call(webhook_calls.delete_webhook(self._session, webhook))

    async def deliveries(self, webhook: Webhook | str) -> tuple[Delivery, ...]:
        """As `Client.deliveries`."""
        return await self._call(webhook_calls.deliveries(self._session, webhook))

    async def redeliver(self, webhook: Webhook | str, delivery: Delivery | str) -> Delivery:
        """As `Client.redeliver`."""
        return await self._call(webhook_calls.redeliver(self._session, webhook, delivery))
