"""Finding stars and measuring their light and place."""
