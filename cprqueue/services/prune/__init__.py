"""Stage prune: jobcodes of inactive jobs are archived; remove-all; undo."""
