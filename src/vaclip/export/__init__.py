"""Trained models for people without vaclip: programs, how to call them, what they are good for."""
