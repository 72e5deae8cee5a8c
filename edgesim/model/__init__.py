"""Values: geography, topology, releases, requests. No behaviour that needs a clock, entropy or I/O."""
