"""Where a model looks, against where clinicians look."""
