"""Runs cases of what a fleet's figures must be through the public inputs of tokenmill to its published tables."""
