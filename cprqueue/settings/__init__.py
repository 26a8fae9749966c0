"""How settings are read: the lines of .env, files of secrets, and each value's own form."""
