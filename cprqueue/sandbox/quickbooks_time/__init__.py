"""A QuickBooks Time company in memory, free of any transport: requests in, answers out.

It follows the published documentation, and refuses what the documentation refuses. Where
the real service's behaviour is not known, ``Switches`` chooses between the possibilities.
"""

from cprqueue.sandbox.quickbooks_time.account import Account
from cprqueue.sandbox.quickbooks_time.switches import Switches

__all__ = ["Account", "Switches"]
