"""The periodic jobs, one file for each."""
