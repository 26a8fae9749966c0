"""``python -m cprqueue``"""

from cprqueue.cli import main

main()
