"""Candidates as people look through them."""
