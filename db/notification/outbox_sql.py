"""Whom an end is told to: one row of the outbox a channel, in the transaction that ends the extraction.

These parts of statements stand after a CTE `ended` (id, user_id, status). A channel is `email` or `webhook:<id>`.
"""

_WEBHOOKS = """
        SELECT 'webhook:' || webhooks.id AS channel FROM webhooks
        WHERE webhooks.user_id = ended.user_id AND webhooks.disabled_at IS NULL
            AND 'extraction.' || ended.status = ANY(webhooks.events)
"""

# The outbox has no key of the webhook: that it is deleted at this moment must not undo the end of an extraction.
_TOLD = """
    outbox_rows AS (
        INSERT INTO outbox (id, extraction_id, channel)
        SELECT uuid_v7(), ended.id, channels.channel
        FROM ended CROSS JOIN LATERAL ({channels}) AS channels
    )
"""

TELL = _TOLD.format(
    channels=f"""
        SELECT 'email' AS channel FROM users
        WHERE users.id = ended.user_id
            AND (users.notify = 'all' OR (users.notify = 'failures' AND ended.status = 'failed'))
        UNION ALL {_WEBHOOKS}
    """
)
# Whoever asked for a result that was there has it in the answer; only programs are told.
TELL_WEBHOOKS = _TOLD.format(channels=_WEBHOOKS)
