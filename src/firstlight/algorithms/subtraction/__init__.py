"""What is left when a reference is taken away."""
