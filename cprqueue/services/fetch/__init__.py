"""Stage fetch: RestorationManager's job list becomes one message for each job."""
