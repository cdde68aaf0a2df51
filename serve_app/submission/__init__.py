"""How a request with videos is accepted."""
