"""The control plane: what shall run where, kept in SQLite, published over the bus, driven through an HTTP API."""
