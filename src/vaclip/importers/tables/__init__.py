"""Spreadsheets of clips and of named regions, one file a layout."""
