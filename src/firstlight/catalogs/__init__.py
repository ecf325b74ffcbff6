"""Reference stars: positions at epoch and magnitudes, from embedded, local and online catalogues."""
