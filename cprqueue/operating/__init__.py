"""What an operator does, from the command line or from the board.

Orders to the workers, questions to the broker, the lines of ``health``. Neither of the two above
knows how the other shows it.
"""
