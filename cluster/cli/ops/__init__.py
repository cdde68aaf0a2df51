"""The commands of `fotograma ops`: a file for each. What they do is in `cluster.operations`."""
