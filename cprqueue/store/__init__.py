"""The database. One module for each table; each function takes a connection.

Transactions are the services' business: ``with db.begin() as conn``. Keep them short,
and never hold one open over a request or a message.
"""
