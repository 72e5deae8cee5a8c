"""edgesim: a whole edge CDN on one machine."""

__version__ = "0.1.0"
