"""Shapes drawn on videos, one file a tool."""
