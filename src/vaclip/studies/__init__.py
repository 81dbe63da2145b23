"""Runs: one arm over one fold or all of them."""
