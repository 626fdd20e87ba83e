"""Carries the weights of the embedded model; nothing to import."""
