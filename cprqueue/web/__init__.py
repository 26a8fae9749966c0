"""The board: pages for the office, on Tornado, rendered here; they work without a script.

**A page** is a module in ``cprqueue/web/pages`` and a template of its name::

    class Job(Page):
        template = "job.html"                      # in cprqueue/web/templates

        def read(self, *words: str) -> Mapping[str, object]:
            job_id = int(words[0])                 # the groups of the route
            tab = self.query.choice("tab", ("now", "history"), "now")
            return {"job": board_service.job(self.app.db, job_id), "tab": tab}

    ROUTES = [(r"/jobs/([0-9]{1,18})", Job)]
    NAVIGATION = Entry("Jobs", "/jobs")            # or None

and one name more in ``pages.MODULES``, whose order is that of the navigation. ``read`` runs in
a thread: it calls one service with ``self.app`` (``cprqueue.bootstrap.Application``) and returns
what the template needs; it does not answer, redirect or set cookies there. Parameters are read
with ``self.query`` (``text``, ``number``, ``choice``, ``day``, ``numbers``): what no link of ours
sends is a page with status 400. For what is not there raise ``Problem(404, "One sentence.")``.
Errors of ours become pages by themselves: UsageError 400, AlreadyDone, NeedsApproval and
AlreadyRunning 409, what is out of reach 503 (``web.problems``).

**A template** extends ``base.html`` and fills the blocks ``title`` and ``main``, with one ``h1``.
All texts are escaped; never write ``{% raw %}``. ``web.parts`` has what is used everywhere:
``number``, ``counted``, ``{% module Moment(at) %}``, ``{% module Said(text) %}`` (a sentence whose
`` `commands` `` become code), ``{% module Press(...) %}``; ``may_act`` is
true for an operator, ``person``, ``here`` and ``timezone`` are known. No inline style or script:
the browser refuses them (CSP). ``board.css`` has its classes listed at its head.

**An act** is what a button orders::

    class Keep(Act):
        def act(self, *words: str) -> Done:        # in a thread, for operators alone
            orders.keep(self.app, int(words[0]), by=self.by, because=self.form.text("because"))
            return Done(to=f"/jobs/{words[0]}", text="It is kept.")

    ROUTES = [(r"/jobs/([0-9]{1,18})/keep", Keep)]

Its button is ``{% module Press("Keep", "/jobs/7/keep") %}``; a form with more fields has
``method="post"`` and ``<input type="hidden" name="token" value="{{ handler.token() }}">``. The
page it goes on to says the text once. What sends a message to workers is in
``cprqueue.operating``, where the command line has it from too; who ordered it (``self.by``) goes
into the history of the job.

**JSON** for the script: a Page with ``as_json = True``, whose ``read`` returns the document.
A page that is live names the address in its template (``data-live``), see ``static/board.js``.

Who may see a page is decided before it is asked: ``needs`` is a role, ``is_public`` means
without log-in. Layers: this package is below ``cli`` and above ``operating``.
"""
