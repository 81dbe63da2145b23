"""Parts for vaclip; the entry points in pyproject.toml name them."""
