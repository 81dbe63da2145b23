"""Alias of ``vaclip.models``."""
