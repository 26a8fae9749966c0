"""The outside: RestorationManager and QuickBooks Time, with the call budget and the token."""
