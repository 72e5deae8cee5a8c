"""The simulated world: a heap kernel on a virtual clock."""
