"""Accounts: users, groups, invitations, sessions."""
