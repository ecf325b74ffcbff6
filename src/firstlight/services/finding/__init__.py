"""What is asked for: searches, files, downloads, observations."""
