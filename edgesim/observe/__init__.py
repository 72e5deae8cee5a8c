"""Metric catalogue, log-linear histogram, recorder and summaries."""
