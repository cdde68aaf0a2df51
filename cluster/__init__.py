"""Where the service runs, and the programs for its users and operators."""
