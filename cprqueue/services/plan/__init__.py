"""The plan: what a sync would do to the account as it is now; nothing is written anywhere."""
