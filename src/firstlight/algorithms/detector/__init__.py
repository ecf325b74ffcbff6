"""From raw counts to electrons, and what is not light from the sky."""
