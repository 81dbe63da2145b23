"""Studies on disk, decoding, caching, splits and batches."""
