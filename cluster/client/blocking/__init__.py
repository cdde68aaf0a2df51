"""The blocking client: it carries out flows in the calling thread, and in threads of its own."""
