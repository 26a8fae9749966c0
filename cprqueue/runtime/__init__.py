"""One machine: the supervisor, its child processes, the embedded broker."""
