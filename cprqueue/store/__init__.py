"""The database. One module for each table; each function takes a connection.

Transactions are the services' business: ``with db.begin() as conn``. They are short and end
before any HTTP call or publish.
"""
