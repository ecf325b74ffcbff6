"""A program of somebody else: an analysis service as SkyPortal's documents describe one."""

from __future__ import annotations

import base64
import csv
import io
import json
import tempfile
import threading
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import joblib
import numpy as np
import requests
from matplotlib.figure import Figure


class RRLyraeFitter:
    """Answers at once, works in a thread, calls back once; writes down what it was sent."""

    def __init__(self):
        self.requests = []
        self.answers = []
        self.work = self.fit

    def fit(self, asked):
        """Posterior as ArviZ's netCDF, one plot, results by joblib: all three in base64."""
        rows = list(csv.DictReader(io.StringIO(asked["inputs"]["photometry"])))
        flux = np.array([float(row["flux"] or "nan") for row in rows])
        luck = np.random.default_rng(1)
        posterior = {
            "period": luck.normal(0.56, 1e-4, (4, 250)),
            "amplitude": luck.normal(0.8, 0.02, (4, 250)),
        }
        results = {
            "n_points": len(rows),
            "mean_flux": np.nanmean(flux),
            "fluxes": flux,
            "kind": asked["inputs"]["analysis_parameters"].get("rrl_type"),
        }
        stream = io.BytesIO()
        joblib.dump(results, stream, compress=3)
        return {
            "status": "success",
            "message": f"fitted {len(rows)} points",
            "analysis": {
                "inference_data": {"format": "netcdf4", "data": _text(netcdf(posterior))},
                "plots": [{"format": "png", "data": _text(_picture(flux))}],
                "results": {"format": "joblib", "data": _text(stream.getvalue())},
            },
        }

    def take(self, headers, body):
        asked = json.loads(body)
        self.requests.append((dict(headers), asked))
        threading.Thread(target=self._finish, args=(asked,), daemon=True).start()

    def _finish(self, asked):
        made = self.work(asked)
        self.answers.append(requests.post(asked["callback_url"], json=made, timeout=60))


@contextmanager
def serving(fitter):
    """The service on a port of this machine; gives its address."""

    class Handler(BaseHTTPRequestHandler):
        def do_POST(self):
            fitter.take(self.headers, self.rfile.read(int(self.headers["Content-Length"])))
            answer = b'{"status": "pending", "message": "running"}'
            self.send_response(200)
            self.send_header("Content-Type", "application/json")
            self.send_header("Content-Length", str(len(answer)))
            self.end_headers()
            self.wfile.write(answer)

        def log_message(self, *_):
            pass

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    thread = threading.Thread(target=server.serve_forever, daemon=True)
    thread.start()
    try:
        yield f"http://127.0.0.1:{server.server_address[1]}/analysis/rrl_analysis"
    finally:
        server.shutdown()
        server.server_close()
        thread.join(60)


def netcdf(posterior):
    """A posterior as ArviZ writes it."""
    import arviz  # noqa: PLC0415, it warns of its future when it is imported

    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "posterior.nc"
        arviz.from_dict(posterior=posterior).to_netcdf(str(path))
        return path.read_bytes()


def _picture(flux):
    figure = Figure(figsize=(4, 3))
    figure.subplots().plot(flux, "k.")
    stream = io.BytesIO()
    figure.savefig(stream, format="png")
    return stream.getvalue()


def _text(data):
    return base64.b64encode(data).decode("ascii")
