"""Ranks tools, tables and documents for a query: `from shortlist import Router`."""
