"""The image of a star, over a frame."""
