"""Objects in a folder or a bucket, their keys, and the collection of garbage."""
