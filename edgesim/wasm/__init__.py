"""The worker runtime: engine, compiled artefacts, host functions and guest ABIs."""
