"""The nouns: database tables whose file data load lazily."""
