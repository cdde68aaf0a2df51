"""The outbox, webhooks, deliveries and events."""
