"""Many arms over folds and seeds: planned, run as jobs, put together."""
