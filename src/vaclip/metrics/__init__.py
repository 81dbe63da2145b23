"""Metrics of a whole split: pure functions, and the state that collects for them."""
