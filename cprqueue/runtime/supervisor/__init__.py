"""Run a few programs as one: started in order, restarted when they die, ended together.

Why our own: supervisord and circus restart with a delay, but a ``kill -9`` of either leaves
its programs running, and neither waits for a line of output
before it starts the next program; honcho restarts nothing.

One thread (the caller of ``run``) decides everything and owns all state. Two small threads
for each program only block, on its output and on its end, and hand what they saw over as
actions in one queue; nothing polls.

On Linux no program outlives a supervisor killed with SIGKILL; see ``supervised``, which also
describes the difference where the system has no prctl(2). A grandchild that starts a session
of its own leaves the process group and is its parent's business.
"""

from cprqueue.runtime.supervisor.loop import Supervisor
from cprqueue.runtime.supervisor.starter import Starter
from cprqueue.runtime.supervisor.values import Event, Kind, Program, restart_delay

__all__ = ["Event", "Kind", "Program", "Starter", "Supervisor", "restart_delay"]
