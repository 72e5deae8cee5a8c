"""Policies: pure choices, one file each; the file name is the policy's name in YAML."""
