"""The HTTP server of a replica: its sockets, its protocol, and the time that a client may take."""
