"""Decides which frames are extracted, which packets are decoded for them, and how long that may take. Pure."""
