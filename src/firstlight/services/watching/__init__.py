"""Who is told: events, streams, webhooks."""
