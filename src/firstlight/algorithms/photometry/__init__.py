"""How bright things are."""
