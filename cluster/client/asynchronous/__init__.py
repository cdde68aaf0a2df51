"""The asyncio client: it carries out flows as coroutines."""
