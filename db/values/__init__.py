"""Pure values: specification, error catalogue, life cycle, file types."""
