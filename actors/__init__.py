"""How one video becomes frames, and the processes that do it."""
