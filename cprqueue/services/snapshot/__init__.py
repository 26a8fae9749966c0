"""Stage snapshot: all of QuickBooks Time into ``qbt_export``, and the drift found by it."""
