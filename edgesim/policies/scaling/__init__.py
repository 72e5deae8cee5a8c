"""Scaling policies: how many instances of a loaded worker are kept ready, and when its module leaves memory."""
