"""Scenarios as values: arrivals, populations, timelines, thresholds."""
