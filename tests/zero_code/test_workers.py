"""Several processes of one service: forks, spawns, reloads; each takes the handles of all, and votes on them count."""

import shutil
import time

import httpx
import pytest
from stack.client import wait_until
from tests.zero_code.conftest import APPS, UVICORN

from otel_feedback import semconv

SERVERS = {
    "uvicorn with workers (spawned)": (*UVICORN, "--workers", "2", "voting_app:app"),
    "gunicorn with uvicorn's worker (forked)": (
        *("gunicorn", "--bind", "127.0.0.1:{port}", "--workers", "2", "--log-level", "warning"),
        *("--worker-class", "uvicorn.workers.UvicornWorker", "voting_app:app"),
    ),
    "gunicorn with its ASGI worker, preloaded": (
        *("gunicorn", "--bind", "127.0.0.1:{port}", "--workers", "2", "--log-level", "warning"),
        *("--preload", "--worker-class", "asgi", "voting_app:app"),
    ),
}


def answers_of_both(service):
    """A handle from each of the two workers, by process id."""
    found = {}
    deadline = time.monotonic() + 60  # on a busy machine the second is a while behind the first
    while time.monotonic() < deadline:
        response = service.get("/ask")
        assert response.status_code == 200
        found[response.json()["pid"]] = response.headers["feedback-handle"]
        if len(found) == 2:
            return found
    raise AssertionError(f"one worker answers everything: {found.keys()}")


@pytest.mark.parametrize("server", SERVERS)
def test_every_worker_accepts_the_others_handles(start, sink, server):
    """Without a key in the settings: the first worker makes one, all use it. A vote through either is a carrier."""
    service = start(*SERVERS[server])
    handles = answers_of_both(service)
    voted = set()
    for _ in range(200):
        for pid, handle in handles.items():
            response = service.client.post("/vote", params={"handle": handle})
            assert response.json()["status"] == "recorded"
            voted.add((response.json()["pid"], pid))
        if len(voted) == 4:
            break
    assert len(voted) == 4, "each worker has taken its own and the other's"
    targets = {service.read(handle).span_id for handle in handles.values()}

    def carriers():
        spans = [span for span in list(sink.spans) if span.attributes.get(semconv.FEEDBACK_SIGNAL) == "thumbs"]
        return targets <= {int(span.attributes[semconv.FEEDBACK_TARGET_SPAN_ID], 16) for span in spans}

    wait_until(carriers, "a carrier for each target", timeout=15)
    for handle in handles.values():
        assert service.target(service.read(handle)).attributes[semconv.FEEDBACK_INTERACTION] is True
    assert all("OTEL_FEEDBACK_HANDLE_KEYS is not set" in line for line in service.warnings())
    assert len(service.warnings()) <= 3, "one for each process that made or took a handle"


def test_a_reload_goes_on_with_the_same_key(start, tmp_path):
    """Uvicorn --reload starts a new process at a change: the handles of the old one stay good, new ones come."""
    for name in ("voting_app.py", "fastapi_app.py"):
        shutil.copy(APPS / name, tmp_path)
    service = start(*UVICORN, "--reload", "--reload-dir", str(tmp_path), "voting_app:app", PYTHONPATH=str(tmp_path))
    before = service.get("/ask")
    time.sleep(1.1)  # file times of some systems are whole seconds
    (tmp_path / "voting_app.py").write_text((tmp_path / "voting_app.py").read_text() + "\n# changed\n")

    def reloaded():
        try:
            return service.get("/health").json()["pid"] != before.json()["pid"]
        except httpx.HTTPError:
            return False

    wait_until(reloaded, "another process", timeout=20)
    after = service.get("/ask")
    for response in (before, after):
        handle = response.headers["feedback-handle"]
        assert service.client.post("/vote", params={"handle": handle}).json()["status"] == "recorded"
