"""A study on disk: clips, annotations, exclusions."""
