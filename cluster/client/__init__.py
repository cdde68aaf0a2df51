"""The SDK: API calls as generators of effects, and two clients that carry them out."""
