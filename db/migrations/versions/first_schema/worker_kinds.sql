-- Which kinds of workers there are beside `cpu`. Only the GPU pool writes here: all other workers write nothing when idle.

-- When a kind last gave a sign of life: one of its workers, or the policy that starts them when there is work.
CREATE TABLE worker_kinds (
    kind text PRIMARY KEY CONSTRAINT worker_kinds_kind_known CHECK (kind IN ('cpu', 'gpu')),
    seen_at timestamptz NOT NULL DEFAULT now()
);

-- The workers of the GPU pool. One that can't use its GPU works as a CPU worker; `about` says what it lacks.
CREATE TABLE gpu_workers (
    name text PRIMARY KEY,
    can_decode boolean NOT NULL,
    about text NOT NULL,
    seen_at timestamptz NOT NULL DEFAULT now()
);
