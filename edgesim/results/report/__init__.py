"""A run's summary as one HTML file that needs nothing else: pure, from a document to a text. Files are the caller's affair."""

from edgesim.results.report.page import ASSET_NAMES, Assets, render

__all__ = ["ASSET_NAMES", "Assets", "render"]
