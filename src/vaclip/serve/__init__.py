"""The server of `vaclip serve`: a page and an API in front of an exported model."""
