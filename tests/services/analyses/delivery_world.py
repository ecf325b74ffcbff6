"""Runs and their way to a service that answers as told, on one clock."""

import json
import threading
from datetime import timedelta

from analysis_world import SECRET, AnalysisWorld
from sqlalchemy import func, select

from firstlight.models.account import UserNotification
from firstlight.models.analysis import Analysis, AnalysisFile, AnalysisService
from firstlight.models.object import Object
from firstlight.remotes.analysis_client import CallOutcome, ServiceReply
from firstlight.services.analyses.callbacks import CallbackService, RunResults
from firstlight.services.analyses.delivery import RunDelivery
from firstlight.services.analyses.delivery_packing import RunPacker
from firstlight.services.analyses.result_files import ResultFiles
from firstlight.services.analyses.run_queue import RunQueue
from firstlight.services.analyses.submissions import SubmissionReader
from firstlight.services.analyses.sweeper import RunSweeper

TAKEN = ServiceReply(CallOutcome.TAKEN, 200, "pending")
LATER = ServiceReply(
    CallOutcome.TRY_LATER, 503, error={"code": "analysis.service_refused", "message": "busy"}
)
REFUSED = ServiceReply(
    CallOutcome.REFUSED, 404, error={"code": "analysis.service_refused", "message": "no such"}
)
DONE = {
    "status": "success",
    "message": "all well",
    "analysis": {"results": {"format": "json", "data": {"a": 1}}},
}


class FakeClient:
    """Keeps what was sent; answers by URL. `hook` is called before it answers."""

    def __init__(self):
        self.sent, self.answers, self.gates = [], {}, {}
        self.hook = None
        self.lock = threading.Lock()

    def send(self, url, document, authentication, *, secrets=(), ready=None):
        whole = {**document, **{name: json.loads(text) for name, text in (ready or {}).items()}}
        with self.lock:
            self.sent.append((url, whole, authentication))
        if url in self.gates:
            self.gates[url].wait(20)
        if self.hook is not None:
            self.hook(whole)
        answer = self.answers.get(url, TAKEN)
        if isinstance(answer, Exception):
            raise answer
        return answer


class DeliveryWorld(AnalysisWorld):
    """The world of analyses, with all that comes after a run was started."""

    def __init__(self, database, folder, **settings):
        super().__init__(database, folder, **settings)
        self.client = FakeClient()
        self.folder = folder
        with database.begin() as session:
            for row in session.scalars(select(Object)):
                row.redshift = 0.05
        self.files = ResultFiles(store=self.store)
        self.wire()

    def wire(self, **settings):
        """All services anew, as another process has them."""
        if settings:
            self.settings = self.settings.model_copy(update=settings)
        shared = {"database": self.database, "clock": lambda: self.now}
        with_settings = {**shared, "settings": self.settings}
        self.packer = RunPacker(**shared, files=self.files)
        self.delivery = RunDelivery(
            **with_settings, packer=self.packer, client=self.client, secret=SECRET,
            base_url=lambda: "https://portal.example",
        )  # fmt: skip
        self.queue = RunQueue(**with_settings, delivery=self.delivery)
        self.sweeper = RunSweeper(**with_settings)
        self.results = RunResults(
            **shared, reader=SubmissionReader(self.settings), files=self.files
        )
        self.callbacks = CallbackService(**with_settings, results=self.results)

    def add_fitter(self, name="fitter", **fields):
        given = {"input_data_types": ["redshift"], "timeout": 60, **fields}
        return self.add_service(name, **given)

    def deliver(self):
        """Send what is due; returns the last document."""
        self.queue.deliver_all()
        return self.client.sent[-1][1] if self.client.sent else None

    def sent_run(self, **fields):
        """A run that its service has; its number and token."""
        number = self.start(self.add_fitter(**fields))
        return number, token_of(self.deliver())

    def post(self, token, body=DONE):
        """What a service does at the end."""
        path = self.folder / f"body-{threading.get_ident()}.json"
        path.write_bytes(body if isinstance(body, bytes) else json.dumps(body).encode())
        self.callbacks.take(self.callbacks.expect(token), path)

    def later(self, seconds):
        self.now += timedelta(seconds=seconds)

    def change_service(self, number, **values):
        with self.database.begin() as session:
            row = session.get_one(AnalysisService, number)
            for name, value in values.items():
                setattr(row, name, value)

    def files_of(self, number):
        with self.database.reading() as session:
            query = select(AnalysisFile).where(AnalysisFile.analysis_id == number)
            return session.scalars(query.order_by(AnalysisFile.id)).all()

    def stored_keys(self):
        return {entry.key for entry in self.store.list("portal")}

    def notifications(self):
        with self.database.reading() as session:
            return session.scalars(select(UserNotification).order_by(UserNotification.id)).all()

    def states(self):
        with self.database.reading() as session:
            query = select(Analysis.status, func.count()).group_by(Analysis.status)
            return dict(session.execute(query).all())


def token_of(document):
    return document["callback_url"].rpartition("/")[2]
