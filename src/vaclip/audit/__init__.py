"""What is in a study, what is wrong with it, and what will mislead."""
