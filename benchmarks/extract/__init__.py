"""Compares the engine's speed, memory and image quality with other programs."""
