"""Eviction policies: which loaded module leaves a PoP's memory first when another one needs the room."""
