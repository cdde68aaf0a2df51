"""What operators do with a running service: look at it, pause it, back it up, restore it, check it."""
