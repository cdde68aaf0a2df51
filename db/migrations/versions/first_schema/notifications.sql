-- Whom an end is told to: what is owed to each channel, the webhooks, and every try to reach one.

-- Rows that statements write themselves have ids in the order of time, as those of the code. RFC 9562, section 5.7:
-- milliseconds in front, the bits of the version set over those of a random UUID.
CREATE FUNCTION uuid_v7() RETURNS uuid LANGUAGE sql VOLATILE AS $$
    SELECT encode(set_bit(set_bit(overlay(
        uuid_send(gen_random_uuid())
        PLACING substring(int8send((extract(epoch FROM clock_timestamp()) * 1000)::bigint) FROM 3) FROM 1 FOR 6
    ), 52, 1), 53, 1), 'hex')::uuid
$$;

CREATE TABLE outbox (
    id uuid PRIMARY KEY,
    extraction_id uuid NOT NULL REFERENCES extractions ON DELETE CASCADE,
    channel text NOT NULL,
    tries integer NOT NULL DEFAULT 0,
    due_at timestamptz NOT NULL DEFAULT now(),
    last_error text,
    created_at timestamptz NOT NULL DEFAULT now(),
    owed_since timestamptz NOT NULL DEFAULT now(),
    delivered_at timestamptz,
    given_up_at timestamptz,
    -- A channel hears of one end once.
    UNIQUE (extraction_id, channel),
    CONSTRAINT outbox_one_end CHECK (delivered_at IS NULL OR given_up_at IS NULL)
);

-- What is due on each channel, whatever the others have waiting.
CREATE INDEX outbox_due_idx ON outbox (channel, due_at) WHERE delivered_at IS NULL AND given_up_at IS NULL;
-- The deliveries of one webhook, newest first.
CREATE INDEX outbox_channel_id_idx ON outbox (channel, id DESC) WHERE channel <> 'email';

CREATE TABLE webhooks (
    id uuid PRIMARY KEY,
    user_id uuid NOT NULL REFERENCES users ON DELETE CASCADE,
    url text NOT NULL,
    secret text NOT NULL,
    events text[] NOT NULL,
    created_at timestamptz NOT NULL DEFAULT now(),
    disabled_at timestamptz,
    -- A webhook without events would never be called, and nobody would know why.
    CONSTRAINT webhooks_events_given CHECK (cardinality(events) > 0)
);

-- An account's webhooks, newest first.
CREATE INDEX webhooks_user_id_id_idx ON webhooks (user_id, id DESC);

CREATE TABLE deliveries (
    id uuid PRIMARY KEY DEFAULT uuid_v7(),
    outbox_id uuid NOT NULL REFERENCES outbox ON DELETE CASCADE,
    status smallint,
    error text,
    milliseconds integer NOT NULL,
    at timestamptz NOT NULL DEFAULT now()
);

-- The tries of one notification, in order.
CREATE INDEX deliveries_outbox_id_id_idx ON deliveries (outbox_id, id);
