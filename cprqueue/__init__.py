"""cprqueue: RestorationManager jobs, one way, into QuickBooks Time."""
