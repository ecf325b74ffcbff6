"""What goes: rules, removal, cheaper storage."""
