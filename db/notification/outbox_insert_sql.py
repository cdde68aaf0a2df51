"""SQL that writes the outbox: one row for each channel, in the transaction that ends the extraction.

These fragments follow a CTE `ended` (id, user_id, status). A channel is `email` or `webhook:<id>`.
"""

_WEBHOOKS = """
        SELECT 'webhook:' || webhooks.id AS channel FROM webhooks
        WHERE webhooks.user_id = ended.user_id AND webhooks.disabled_at IS NULL
            AND 'extraction.' || ended.status = ANY(webhooks.events)
"""

# The outbox has no foreign key to webhooks: a concurrent deletion of the webhook must not undo the end.
_INSERT = """
    outbox_rows AS (
        INSERT INTO outbox (id, extraction_id, channel)
        SELECT uuid_v7(), ended.id, channels.channel
        FROM ended CROSS JOIN LATERAL ({channels}) AS channels
    )
"""

INSERT_NOTIFICATIONS = _INSERT.format(
    channels=f"""
        SELECT 'email' AS channel FROM users
        WHERE users.id = ended.user_id
            AND (users.notify = 'all' OR (users.notify = 'failures' AND ended.status = 'failed'))
        UNION ALL {_WEBHOOKS}
    """
)
# A reused result is in the response of the request itself, so only webhooks are notified.
INSERT_WEBHOOK_NOTIFICATIONS = _INSERT.format(channels=_WEBHOOKS)
