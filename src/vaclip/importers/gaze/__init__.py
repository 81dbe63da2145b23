"""Gaze of eye trackers: one importer, and a file a format."""
