"""Files to arrays and back: FITS, pictures, tables."""
