"""HTTP to and from other systems: outgoing calls, and the messages that they send."""
