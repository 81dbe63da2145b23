"""From prediction tables alone: scores, tests, a verdict in plain language."""
