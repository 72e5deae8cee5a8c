"""Benchmarks: each module has `run() -> list[Entry]`; `python -m benchmarks [ID …]` runs them (see benchmarks/__main__.py)."""
