"""Attention maps collected in a browser, blinded: `vaclip annotate`."""
