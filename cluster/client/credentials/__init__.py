"""Where a client gets its address and its tokens from, and where they are stored."""
