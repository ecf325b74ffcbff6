"""Many frames as one."""
