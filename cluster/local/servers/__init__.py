"""The servers that `fotograma up` starts, and the programs and the user that they need."""
