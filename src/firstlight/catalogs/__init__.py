"""Reference stars: positions at epoch and magnitudes, embedded, local and online."""
