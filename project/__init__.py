"""Aliases, so that the commands of the model's description work from a checkout."""
