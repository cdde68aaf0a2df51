"""The queue's speed beside PostgreSQL's own; `python -m benchmarks.queue --help`."""
