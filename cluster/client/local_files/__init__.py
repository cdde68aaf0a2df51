"""Files of the machine on which the client runs: what is sent, what is received, and where an upload stands."""
