"""HTTP that is not specific to videos: bodies, ranges, problems, middleware."""
