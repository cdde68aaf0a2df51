"""Files of the machine on which the client runs: what is sent, received and recorded."""
