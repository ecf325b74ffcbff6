"""Bytes under keys: one interface over a folder and S3."""
