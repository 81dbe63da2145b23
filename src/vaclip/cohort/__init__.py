"""The generated studies."""
