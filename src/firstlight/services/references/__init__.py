"""References: made, chosen, looked at."""
