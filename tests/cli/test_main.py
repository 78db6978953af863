"""Exit statuses and messages: a refusal is plain text on standard error, never a traceback."""

from __future__ import annotations

import shutil
from datetime import UTC, datetime
from pathlib import Path

import pytest

from forecastle.alert.alerts import Alert, AlertLog
from forecastle.contract.clock import replay_clock
from forecastle.promote.registry import Registry
from tests.cli.conftest import ROOT, Forecastle

SYSTEM = ROOT / "platform" / "systems" / "prediction_markets"
BUNDLE = "0123456789ab" + 52 * "c"


@pytest.mark.parametrize("verb", ["run", "up", "demo", "history", "check", "serve"])
def test_an_unknown_system_is_answered_with_the_one_that_was_meant(forecastle: Forecastle, verb: str) -> None:
    """One typing error: exit status 1, the name, and what exists."""
    done = forecastle(verb, "prediction_market")
    assert done.returncode == 1
    assert "there is no system 'prediction_market'; did you mean 'prediction_markets'?" in done.stderr
    assert "Traceback" not in done.stderr + done.stdout


@pytest.mark.parametrize(
    ("variable", "value", "says"),
    [
        ("FORECASTLE_DATA", "no/such/folder", "FORECASTLE_DATA is 'no/such/folder', which is no folder"),
        ("FORECASTLE_NOW", "yesterday", "FORECASTLE_NOW: got 'yesterday'"),
        ("FORECASTLE_NOW", "2026-06-01T12:00:00", "an instant needs its zone"),
    ],
)
def test_a_wrong_environment_is_refused_before_anything_is_made(
    forecastle: Forecastle, tmp_path: Path, variable: str, value: str, says: str
) -> None:
    """The message names the variable and what would be right; no home folder appears."""
    done = forecastle("check", **{variable: value})
    assert done.returncode == 1
    assert says in done.stderr
    assert "Traceback" not in done.stderr
    assert not (tmp_path / "home").exists()


@pytest.mark.parametrize("home", ["a_file", "a_file/below"])
def test_a_home_that_cannot_be_a_folder_is_refused(forecastle: Forecastle, tmp_path: Path, home: str) -> None:
    """The variable, its value and what the machine said."""
    (tmp_path / "a_file").touch()
    done = forecastle("history", "prediction_markets", FORECASTLE_HOME=home)
    assert done.returncode == 1
    assert f"FORECASTLE_HOME is {home!r}, where no folder can be made: " in done.stderr
    assert "Traceback" not in done.stderr


def test_a_file_that_cannot_be_read_is_no_traceback(forecastle: Forecastle, tmp_path: Path) -> None:
    """What the machine refuses in the middle of a verb is told with the file: here a folder stands in its place."""
    (tmp_path / "home" / "alerts.yaml").mkdir(parents=True)
    (tmp_path / "home" / "registry.sqlite").mkdir()
    done = forecastle("history", "prediction_markets")
    assert done.returncode == 1
    assert str(tmp_path / "home") in done.stderr
    assert "look at its free space and at who may write there" in done.stderr
    assert "Traceback" not in done.stderr


@pytest.mark.parametrize(
    ("arguments", "says"),
    [
        (["lineage", "market_price"], "'market_price' is no SYSTEM.FEATURE; write one, such as"),
        (["lineage", "mlb."], "'mlb.' is no SYSTEM.FEATURE"),
        (["new", "credit"], "there is a system 'credit' already, in "),
        (["simulate", "mlb", "--story", "calm", "--world", "day=9"], "no such size; did you mean 'days'?"),
        (["simulate", "mlb", "--story", "calm", "--world", "days=0"], "--world days=0: a size is 1 or more"),
        (["serve", "mlb", "--port", "99999"], "less than or equal to 65535"),
        (["serve", "mlb", "--workers", "0"], "greater than or equal to 1"),
    ],
)
def test_a_wrong_argument_is_refused_with_what_is_allowed(
    forecastle: Forecastle, arguments: list[str], says: str
) -> None:
    """Before anything is started; never a traceback."""
    done = forecastle(*arguments)
    assert done.returncode in {1, 2}
    assert says in done.stderr
    assert "Traceback" not in done.stderr


def test_check_lists_every_problem_with_file_and_line(forecastle: Forecastle, tmp_path: Path) -> None:
    """Two faults of one declaration in one answer; the sound system beside it is still said to be sound."""
    folder = tmp_path / "mine" / "broken"
    shutil.copytree(SYSTEM, folder)
    text = (folder / "system.yaml").read_text()
    text = text.replace("system: prediction_markets", "system: broken").replace("ttl: 2d", "tlt: 2d")
    (folder / "system.yaml").write_text(text.replace('schedule: "0 6 * * *"', "schedule: sometimes"))
    done = forecastle("check", FORECASTLE_SYSTEMS=str(tmp_path / "mine"))
    assert done.returncode == 1
    typo = 1 + text.splitlines().index("    tlt: 2d")
    assert f"system.yaml:{typo}:" in done.stderr
    assert "did you mean 'ttl'?" in done.stderr
    schedule = 1 + next(n for n, line in enumerate(text.splitlines()) if "schedule:" in line)
    assert f"system.yaml:{schedule}:" in done.stderr
    assert "prediction_markets:" in done.stdout
    assert "Traceback" not in done.stderr


def test_line_100_is_no_emoji(forecastle: Forecastle, tmp_path: Path) -> None:
    """A finding on line 100 of a file reads `:100:`, which terminals of the same library draw as a picture."""
    folder = tmp_path / "mine" / "broken"
    shutil.copytree(SYSTEM, folder)
    text = (folder / "system.yaml").read_text().replace("system: prediction_markets", "system: broken")
    head, rest = text.split("sources:", 1)
    padding = "\n" * (99 - head.count("\n"))
    (folder / "system.yaml").write_text(f"{head}{padding}nonsense: 1\nsources:{rest}")
    done = forecastle("check", "broken", FORECASTLE_SYSTEMS=str(tmp_path / "mine"))
    assert "system.yaml:100:" in done.stderr
    assert "💯" not in done.stderr + done.stdout


def test_check_passes_what_ships(forecastle: Forecastle) -> None:
    """Exit status 0 and one line a system."""
    done = forecastle("check")
    assert done.returncode == 0, done.stderr
    assert "✓ prediction_markets: 7 sources, 9 features" in done.stdout


def test_a_verb_that_does_not_exist_is_a_usage_error(forecastle: Forecastle) -> None:
    """Typer's status 2, so that scripts can tell a typing error from a refusal."""
    done = forecastle("serv")
    assert done.returncode == 2
    assert "No such command 'serv'" in done.stderr


def test_history_tells_what_was_live_at_an_instant(forecastle: Forecastle, tmp_path: Path) -> None:
    """Two promotions: before the first nothing was live, between them the first, after them the second."""
    first, second = datetime(2026, 6, 1, tzinfo=UTC), datetime(2026, 6, 8, tzinfo=UTC)
    before = None
    for at, version in ((first, "1"), (second, "2")):
        registry = Registry(tmp_path / "home" / "registry.sqlite", clock=replay_clock(at))
        decision = registry.record_decision(
            "prediction_markets", model="lightgbm", bundle=BUNDLE, model_version=version, promote=True,
            reasons=(f"reason of version {version}",), evidence={},
        )  # fmt: skip
        before = registry.promote(
            "prediction_markets", bundle=BUNDLE, model_version=version, approved_by="gates", expected=before,
            decision_id=decision,
        )  # fmt: skip
    answers = {
        at: forecastle("history", "prediction_markets", "--at", at).stdout
        for at in ("2026-05-31T00:00:00+00:00", "2026-06-07T23:00:00+00:00", "2026-06-08T03:00:00+02:00")
    }
    none, one, two = answers.values()
    assert none == "No bundle was live.\n"
    assert one.splitlines() == [
        "2026-06-01 00:00:00 UTC  lightgbm version 1  bundle 0123456789ab  by gates",
        "    reason of version 1",
        "    live until 2026-06-08 00:00:00 UTC, when bundle 0123456789ab took its place",
    ]
    assert two.startswith("2026-06-08 00:00:00 UTC  lightgbm version 2")
    everything = forecastle("history", "prediction_markets").stdout
    assert everything.index("version 2") < everything.index("version 1")


@pytest.mark.parametrize(("at", "says"), [("noon", "write an instant"), ("2026-06-01", "no zone")])
def test_history_asks_for_an_instant_with_zone(forecastle: Forecastle, at: str, says: str) -> None:
    """A day without a zone is 26 different hours; none is chosen."""
    done = forecastle("history", "prediction_markets", "--at", at)
    assert done.returncode == 1
    assert says in done.stderr


def test_alerts_shows_the_newest_first_with_what_to_do(forecastle: Forecastle, tmp_path: Path) -> None:
    """Time, severity, message and runbook; `--count` limits them; an empty log is said and no error."""
    empty = forecastle("alerts")
    assert (empty.returncode, empty.stdout) == (0, "No alerts.\n")
    log = AlertLog(tmp_path / "home" / "alerts.sqlite", clock=replay_clock(datetime(2026, 6, 1, 12, tzinfo=UTC)))
    for name in ("old", "new"):
        log.raise_alert(Alert("prediction_markets", name, "freshness", "warn", f"{name} is stale", f"look at {name}"))
    done = forecastle("alerts", "--count", "1")
    assert done.stdout.splitlines() == ["2026-06-01 12:00 warn  new is stale", "    look at new"]


def test_alerts_test_tries_every_target(forecastle: Forecastle, tmp_path: Path) -> None:
    """Without a target it says how to name one; one that is down is told by its name, never by its address."""
    none = forecastle("alerts", "test")
    assert none.returncode == 1
    assert "FORECASTLE_ALERT_TARGETS" in none.stderr
    (tmp_path / "home" / "alerts.yaml").write_text("targets: {desk: {url: 'json://u:secret-word@127.0.0.1:1/x'}}")
    done = forecastle("alerts", "test")
    assert done.returncode == 1
    assert "desk (from warn): no connection" in done.stdout
    assert "secret-word" not in done.stdout + done.stderr


def test_trace_of_an_unknown_prediction_is_a_refusal(forecastle: Forecastle) -> None:
    """It says where an id is to be found."""
    done = forecastle("trace", "0" * 32)
    assert done.returncode == 1
    assert "prediction" in done.stderr
    assert "Traceback" not in done.stderr


def test_serving_without_a_champion_or_token_is_refused(forecastle: Forecastle) -> None:
    """Beyond loopback a token is required: said before a port is opened."""
    done = forecastle("serve", "prediction_markets", "--host", "0.0.0.0", "--port", "0")
    assert done.returncode == 1
    assert "FORECASTLE_TOKEN" in done.stderr
    assert "Traceback" not in done.stderr
