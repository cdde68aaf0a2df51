"""Decides how many workers there are: the decision is pure, and Serve's autoscaling policy is its shell."""
