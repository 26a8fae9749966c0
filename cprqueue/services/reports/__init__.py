"""What people ask of the record. Only reads."""
