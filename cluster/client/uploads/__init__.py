"""The upload of one file by tus, and the reuse of content that the service has."""
