"""E-mail, webhooks and the Redis Stream, fed from the outbox and the event log."""
