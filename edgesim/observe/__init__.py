"""Metrics: their catalogue, the histogram, the recorder that turns events into values, exposition and summaries."""
