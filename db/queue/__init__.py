"""The task queue: claims, leases, fair order, replanning and repair."""
