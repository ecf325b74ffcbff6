"""Pure hashing: what made a product, as a fingerprint that needs no database."""
