"""Turns decoded frames into images: color conversion, scaling, rotation, and JPEG, PNG or WebP encoding."""
