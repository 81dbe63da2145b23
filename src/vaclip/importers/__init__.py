"""Annotations of other tools: one module a kind."""
