"""The composition root: what each process works with, made from the settings."""
