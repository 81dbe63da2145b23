"""From a prediction table to scores, comparisons and a verdict; without torch."""
