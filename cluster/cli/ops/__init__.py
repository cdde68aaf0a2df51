"""The commands of `fotograma ops`: a file for each, or for a pair. What they do is in `cluster.operations`."""
