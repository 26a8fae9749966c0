"""Answers to what people ask, from the database. Only reads."""
