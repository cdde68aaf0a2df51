"""The extraction of many videos by one call: upload or reuse, wait, and what became of each."""
