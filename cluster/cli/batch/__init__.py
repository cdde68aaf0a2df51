"""Batches of videos: their files, progress and results; by the service or on this machine."""
