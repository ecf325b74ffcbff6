"""External analysis services: who they are, their runs, and what came of them."""
