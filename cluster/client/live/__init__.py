"""Following extractions by the server's stream of events."""
