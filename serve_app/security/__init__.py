"""Passwords, tokens, keys and rate limits."""
