"""Starting the parts of the service, and starting again what ends."""
