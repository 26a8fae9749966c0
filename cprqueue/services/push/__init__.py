"""Stage push: QuickBooks Time is brought to what the record says, 50 jobs a request."""
