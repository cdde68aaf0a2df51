"""The API calls as flows, one file for each resource."""
