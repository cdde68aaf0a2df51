"""Reads containers: opens and probes video files, checks them for damage, and configures their decoders."""
