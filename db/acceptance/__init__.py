"""Reservations, acceptance, quotas, idempotency keys and the audit of acceptances."""
