"""Image analyses: uploaded images into photometry."""
