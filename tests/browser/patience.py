"""How long a test waits for what a page is to show."""

from playwright.sync_api import expect

PATIENCE_MS = 90_000
"""A busy machine draws a page late; what never comes fails all the same."""

expect.set_options(timeout=PATIENCE_MS)
