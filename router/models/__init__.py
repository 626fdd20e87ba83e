"""Carries the weights of the built-in model; nothing to import."""
