"""Whether a service can run as it is set: its settings, its servers, its machine. The start and `ops doctor` ask."""
