"""The Grafana dashboards, one module each: `BOARD` says what is on it. `grafana.py` makes JSON of it."""
