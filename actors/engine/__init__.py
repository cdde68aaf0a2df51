"""The engine: one video and a specification become a result; long videos are extracted in segments."""
