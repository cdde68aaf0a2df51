"""Submission from inside the cluster: by a Serve handle, and of a whole prefix of a bucket by a Ray Job."""
