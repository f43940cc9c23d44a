"""Laws of who may ask the dashboard for what, over real HTTP."""
import base64
import io
import time
from collections.abc import Iterable
from pathlib import Path
from wsgiref.types import StartResponse, WSGIEnvironment

import pytest
from optuna_dashboard import wsgi

from objective import guard
from objective.guard import Guard
from storage.artifacts import artifact_store
from storage.studies import open_storage
from tests.objective.asking import ask, served

TOKEN = "a long enough tökén"
WRITING = ("POST", "PUT", "DELETE", "PATCH")


def app(environ: WSGIEnvironment, start_response: StartResponse) -> Iterable[bytes]:
    """Answers everything, and lets everybody read, as optuna-dashboard does with artifacts."""
    start_response("200 OK", [("Content-Length", "7"), ("access-control-allow-origin", "*")])
    return [b"secrets"]


def basic(text: str) -> str:
    return "Basic " + base64.b64encode(text.encode()).decode()


@pytest.fixture(autouse=True)
def _at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(guard, "WRONG_S", 0.01)


def test_no_route_of_the_dashboard_answers_without_the_token(tmp_path: Path) -> None:
    """All that it has, taken from itself, so that a new one is asked too."""
    inner = wsgi(open_storage(f"sqlite:///{tmp_path}/x.db"), artifact_store=artifact_store(tmp_path))
    routes = {(route.method, route.rule.replace("<:re:(/.*)?>", "")) for route in inner.routes}
    assert {("GET", "/dashboard"), ("GET", "/static/<filename:path>"), ("POST", "/api/trials/<trial_id:int>/tell")} <= routes
    with served(Guard(inner, TOKEN)) as port:
        for method, rule in [*routes, ("GET", "/nothing"), ("OPTIONS", "/api/studies"), ("BREW", "/")]:
            status, headers, body = ask(port, method, rule.replace("<", "%3C").replace(">", "%3E"))
            assert status == 401, (method, rule)
            assert headers["www-authenticate"].startswith("Basic")
            assert b"need the token" in body
        assert ask(port, path="/api/studies", Authorization=basic(f"me:{TOKEN}"))[0] == 200


RIGHT = [basic(f"anybody:{TOKEN}"), basic(f":{TOKEN}"), f"bearer {TOKEN}".encode().decode("latin-1")]


@pytest.mark.parametrize("said", RIGHT)
def test_the_token_opens_as_password_of_any_user_or_as_bearer(said: str) -> None:
    with served(Guard(app, TOKEN)) as port:
        status, _, body = ask(port, Authorization=said, Host="dashboard.example")
    assert (status, body) == (200, b"secrets")


WRONG = [
    *("", "Basic", "Bearer", "Bearer ", "Basic !!!", "Basic 12345", "Bearer wrong wrong wrong"),
    *(kind + TOKEN.encode().decode("latin-1") for kind in ("", "Digest ")),
    *(basic(text) for text in (TOKEN, f"{TOKEN}:", f"me:{TOKEN[:-1]}", f"me:{TOKEN} ", f"me:x{TOKEN}", "me:", "")),
    "Digest " + basic(f"me:{TOKEN}").partition(" ")[2],
]


@pytest.mark.parametrize("said", WRONG)
def test_nothing_else_does(said: str) -> None:
    with served(Guard(app, TOKEN)) as port:
        status, _, body = ask(port, Authorization=said)
    assert status == 401
    assert b"secrets" not in body


def test_wrong_tokens_wait_and_the_right_one_does_not(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(guard, "WRONG_S", 0.5)
    with served(Guard(app, TOKEN)) as port:
        began = time.monotonic()
        ask(port, Authorization=basic("me:wrong"))
        assert time.monotonic() - began >= 0.5
        monkeypatch.setattr(guard, "WRONG_S", 60)
        for said in ({}, {"Authorization": basic(f"me:{TOKEN}")}):  # a browser first asks without
            ask(port, **said)
    assert time.monotonic() - began < 60


@pytest.mark.parametrize("host", ["localhost", "LOCALHOST:8080", "127.0.0.1", "127.0.0.1:1", "[::1]", "[::1]:8080"])
def test_without_a_token_it_answers_to_the_names_of_this_machine(host: str) -> None:
    with served(Guard(app, None)) as port:
        assert ask(port, Host=host)[0] == 200


FOREIGN = ["evil.example", "evil.example:8080", "localhost.evil.example", "127.0.0.1.evil.example", "localhost@evil.example"]
FOREIGN += ["192.168.0.7:8080", "0.0.0.0:8080", "", "[::1", "evil.example, localhost"]


@pytest.mark.parametrize("host", FOREIGN)
@pytest.mark.parametrize("method", ["GET", "HEAD", "POST"])
def test_without_a_token_it_answers_to_no_other_name(host: str, method: str) -> None:
    """A page of evil.example, whose name was made to point to 127.0.0.1, is of the dashboard's origin for the browser."""
    with served(Guard(app, None)) as port:
        status, _, body = ask(port, method, Host=host)
    assert status == 403
    assert b"secrets" not in body


OTHERS = [{"Sec_Fetch_Site": site} for site in ("cross-site", "same-site", "")]
OTHERS += [{"Origin": origin} for origin in ("http://evil.example", "null", "http://localhost:1", "")]
OTHERS += [{"Sec_Fetch_Site": "cross-site", "Origin": "http://localhost:8080"}]
OWN: list[dict[str, str]] = [{}, {"Sec_Fetch_Site": "same-origin"}, {"Sec_Fetch_Site": "none"}]
OWN += [{"Origin": "http://localhost:8080"}, {"Origin": "https://LOCALHOST:8080"}]


@pytest.mark.parametrize("method", WRITING)
def test_only_its_own_pages_may_write(method: str) -> None:
    right = {"Authorization": basic(f"me:{TOKEN}")}  # which a browser sends along from every page
    for token, known in ((None, {}), (TOKEN, right)):
        with served(Guard(app, token)) as port:
            for said in OTHERS:
                status, _, body = ask(port, method, body="{}", Host="localhost:8080", **known, **said)
                assert (status, b"secrets" in body) == (403, False), said
            for said in OWN:
                assert ask(port, method, body="{}", Host="localhost:8080", **known, **said)[0] == 200, said


def test_every_page_may_be_linked_to() -> None:
    with served(Guard(app, None)) as port:
        assert ask(port, Sec_Fetch_Site="cross-site", Origin="http://evil.example")[0] == 200


def test_no_other_page_reads_or_frames_what_it_answers() -> None:
    with served(Guard(app, None)) as port:
        for path, sandboxed in (("/dashboard", False), ("/artifacts/1/2/3", True)):
            _, headers, _ = ask(port, path=path)
            assert "access-control-allow-origin" not in headers
            assert headers["x-content-type-options"] == "nosniff"
            assert headers["x-frame-options"] == "DENY"
            assert headers["referrer-policy"] == "same-origin"
            assert headers["cross-origin-resource-policy"] == "same-origin"
            assert (headers.get("content-security-policy") == "sandbox") == sandboxed


@pytest.mark.parametrize(("length", "left"), [("1000", 0), ("900", 100), ("", 1000), ("-1", 1000), ("many", 1000)])
def test_what_is_refused_is_read_to_its_end(length: str, left: int) -> None:
    """Where a connection is closed on what was sent, some systems lose the answer with it; no more is read than one says."""
    sent = io.BytesIO(bytes(1000))
    environ = {"REQUEST_METHOD": "POST", "HTTP_HOST": "evil.example", "CONTENT_LENGTH": length, "wsgi.input": sent}
    (body,) = Guard(app, None)(environ, lambda *_: sent.write)
    assert b"need one of the names" in body
    assert len(sent.read()) == left
