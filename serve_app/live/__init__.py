"""Live updates: one feed of changes in each replica, and the streams of server-sent events that it feeds."""
