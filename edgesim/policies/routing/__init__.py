"""Routing policies: which PoPs to try for a client, best first."""
