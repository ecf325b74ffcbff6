"""The durable engine and its process pool: jobs by name."""
