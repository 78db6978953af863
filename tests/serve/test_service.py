"""The BentoML service under our runner, in real processes: answers, swaps, crashes, what is imported."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import threading
from pathlib import Path

import pytest

from forecastle.store.prediction_log import PredictionReader
from tests.serve import toy
from tests.serve.server import PLATFORM, served, until
from tests.serve.toy import GIVEN

pytestmark = pytest.mark.e2e
ASK = {"features": GIVEN}
COUNTED = 'forecastle_requests_total{route="/predict",status="200"} 40.0'
TOKEN = "0123456789abcdef0123456789abcdef"


def test_every_path_answers_in_our_words(home):
    """BentoML keeps some paths for itself; through our middleware all of them are ours."""
    with served(home.root) as server:
        assert server.ask("GET", "/livez") == (200, {"status": "alive"})
        assert server.ask("GET", "/readyz") == (200, {"status": "ready"})
        assert server.ask("GET", "/healthz")[1]["status"] == "ok"
        assert "forecastle_requests_total" in server.ask("GET", "/metrics")[1]
        for path in ("/", "/schema.json", "/docs.json", "/predict/x", "/assets/main.css"):
            status, answer = server.ask("GET", path)
            assert (status, answer["error"]["code"]) == (404, "not_found")
        status, receipt = server.predict(ASK)
        assert (status, receipt["system"]) == (200, "toy")
        assert server.ask("POST", "/predict", b"{}", host="evil.example")[0] == 421


def test_a_kill_right_after_an_answer_loses_nothing(home):
    """After kill -9 the log holds exactly the predictions whose receipts had arrived."""
    with served(home.root) as server:
        answered = [server.predict(ASK)[1]["prediction_id"] for _ in range(50)]
        os.kill(server.process.pid, signal.SIGKILL)
        server.process.wait()
    logged = [prediction.prediction_id for prediction in PredictionReader(home.prediction_log("toy")).since(0)]
    assert logged == answered


def test_a_swap_under_load_fails_no_request(home):
    """Four callers ask without pause through three promotions: every answer is 200, each bundle arrives."""
    bundles = [toy.make_bundle(home, seed=seed, version=str(seed)) for seed in (2, 1, 2)]
    statuses: list[int] = []
    seen: list[str] = []
    with served(home.root) as server:
        stop = threading.Event()

        def ask() -> None:
            while not stop.is_set():
                status, receipt = server.predict(ASK)
                statuses.append(status)
                seen.append(receipt["model"]["bundle"])

        callers = [threading.Thread(target=ask) for _ in range(4)]
        for caller in callers:
            caller.start()
        for bundle in bundles:
            toy.promote(home, bundle)
            assert _arrives(server, bundle)
        stop.set()
        for caller in callers:
            caller.join()
    assert set(statuses) == {200}
    assert set(seen) == set(bundles)


def _arrives(server, bundle: str) -> bool:
    """Whether a bundle answers within 2,000 requests (some ten seconds)."""
    return any(server.predict(ASK)[1]["model"]["bundle"] == bundle for _ in range(2_000))


def test_workers_share_log_metrics_and_promotions(home):
    """Two workers: one log without gaps, one metrics page that counts both, idempotent across them."""
    with served(home.root, workers=2) as server:
        receipts = [server.predict(ASK | {"request_id": f"r{i % 20}"})[1] for i in range(40)]
        # A worker cannot see what another has gathered and not yet settled, for at most half a second.
        until(lambda: COUNTED in server.ask("GET", "/metrics")[1], "all forty are counted")
    assert receipts[:20] == receipts[20:]
    logged = PredictionReader(home.prediction_log("toy")).since(0)
    assert [prediction.sequence for prediction in logged] == list(range(1, len(logged) + 1))
    assert len(logged) == 20


def test_a_second_service_on_the_port_takes_nothing_from_the_first(home, tmp_path):
    """It cannot listen and ends; what the first one counted is still on its page."""
    with served(home.root, workers=2) as server:
        for _ in range(40):
            server.predict(ASK)
        until(lambda: COUNTED in server.ask("GET", "/metrics")[1], "all forty are counted")
        main, port = home.root / "run_server.py", str(server.port)
        environment = os.environ | {"PYTHONPATH": str(PLATFORM)}
        command = [sys.executable, str(main), str(home.root), port, "2"]
        second = subprocess.run(command, env=environment, cwd=tmp_path, capture_output=True, text=True, check=False)
        assert second.returncode != 0
        assert "in use" in second.stderr
        assert COUNTED in server.ask("GET", "/metrics")[1]


def test_the_token_is_asked_for_and_not_logged(home, tmp_path):
    """With FORECASTLE_TOKEN set only bearers are answered, and the server's output never holds it."""
    log = tmp_path / "server.log"
    with served(home.root, log=log, FORECASTLE_TOKEN=TOKEN) as server:
        assert server.predict(ASK)[0] == 401
        assert server.predict(ASK, authorization=f"Bearer {TOKEN}")[0] == 200
    assert TOKEN not in log.read_text()


def test_a_start_that_is_refused_says_why_and_no_more(home, tmp_path):
    """A log's server that is not there: one sentence, no traceback, no password."""
    log = tmp_path / "server.log"
    url = "postgresql://u:secret@127.0.0.1:1/x"
    with (
        pytest.raises(AssertionError, match="the server ended with 3"),
        served(home.root, log=log, FORECASTLE_LOG_URL=url),
    ):
        pass
    assert "the prediction log's server cannot be asked" in log.read_text()
    assert "Traceback" not in log.read_text()
    assert "secret" not in log.read_text()


def test_the_served_process_imports_nothing_heavy():
    """The whole service comes without pandas, scikit-learn, MLflow, Dagster, SciPy or lightgbm."""
    code = (
        "import sys\n"
        "from forecastle.serve import runner\n"
        "runner.service()\n"
        "heavy = {'pandas','sklearn','mlflow','dagster','scipy','lightgbm','duckdb','pyarrow','deltalake'}\n"
        "print(sorted(heavy & set(sys.modules)))"
    )
    environment = os.environ | {"PYTHONPATH": str(PLATFORM), "BENTOML_DO_NOT_TRACK": "1"}
    done = subprocess.run([sys.executable, "-c", code], env=environment, capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"


def test_importing_the_service_reads_nothing(tmp_path):
    """`bentoml build` imports the module without any system: no environment is needed and no file appears."""
    environment = {
        "PATH": os.environ["PATH"],
        "PYTHONPATH": str(PLATFORM),
        "BENTOML_HOME": str(tmp_path / "bentoml"),
    }
    code = "from forecastle.serve.service import Forecastle; print(Forecastle.name)"
    done = subprocess.run(
        [sys.executable, "-c", code],
        env=environment,
        cwd=tmp_path,
        capture_output=True,
        text=True,
        check=True,
    )
    assert done.stdout.strip() == "forecastle"
    assert not Path(tmp_path / ".forecastle").exists()
