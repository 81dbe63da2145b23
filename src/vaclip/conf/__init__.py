"""The configuration files, read by Hydra as ``pkg://vaclip.conf``."""
