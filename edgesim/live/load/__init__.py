"""The load generator: its own process, open loop, client connections that come from many places."""
