"""YAML, TOML and messages to values, with errors that name file, line and column."""
