"""RestorationManager, as far as it is known: login, the job list, one job, the lists.

What its users' code shows is fixed here; every guess is a field of ``RmSwitches``.
"""

from cprqueue.sandbox.restoration_manager.service import RestorationManager
from cprqueue.sandbox.restoration_manager.shape import JOB_FIELDS, Job, Streamed
from cprqueue.sandbox.restoration_manager.switches import RmSwitches

__all__ = ["JOB_FIELDS", "Job", "RestorationManager", "RmSwitches", "Streamed"]
