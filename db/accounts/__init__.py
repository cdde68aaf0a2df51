"""Accounts with their log-in sessions, API keys and presets, and what an export has of them."""
