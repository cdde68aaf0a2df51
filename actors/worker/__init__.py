"""The loop that claims tasks, and one task from claim to publication."""
