"""One module a step of the recipe."""
