"""Readers: decode the frames of a plan, in order, in one of three ways."""
