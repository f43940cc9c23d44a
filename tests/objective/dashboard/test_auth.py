"""Laws of the dashboard's authentication, over real HTTP."""

import base64
import io
import json
import os
from collections.abc import Iterable
from pathlib import Path
from wsgiref.types import StartResponse, WSGIEnvironment

import optuna
import pytest
from optuna_dashboard import wsgi

from objective.dashboard.auth import Guard
from objective.runtime.access import READING
from storage.artifacts import artifact_store
from storage.studies import open_storage
from tests.objective.asking import ask, served

TOKEN = "a long enough tökén"
WRITING = ("POST", "PUT", "DELETE", "PATCH")


def app(environ: WSGIEnvironment, start_response: StartResponse) -> Iterable[bytes]:
    """Answer everything, and let the pages of any site read it, as optuna-dashboard does with artifacts."""
    start_response("200 OK", [("Content-Length", "7"), ("access-control-allow-origin", "*")])
    return [b"secrets"]


def basic(text: str) -> str:
    return "Basic " + base64.b64encode(text.encode()).decode()


def test_no_route_of_the_dashboard_answers_without_the_token(tmp_path: Path) -> None:
    """Its routes are read from the application, so that a new one is tried, too."""
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


@pytest.mark.parametrize("header", RIGHT)
def test_the_token_opens_as_password_of_any_user_or_as_bearer(header: str) -> None:
    with served(Guard(app, TOKEN)) as port:
        status, _, body = ask(port, Authorization=header, Host="dashboard.example")
    assert (status, body) == (200, b"secrets")


WRONG = [
    "",
    "Basic",
    "Bearer",
    "Bearer ",
    "Basic !!!",
    "Basic 12345",
    "Bearer wrong wrong wrong",
    *(kind + TOKEN.encode().decode("latin-1") for kind in ("", "Digest ")),
    *(basic(text) for text in (TOKEN, f"{TOKEN}:", f"me:{TOKEN[:-1]}", f"me:{TOKEN} ", f"me:x{TOKEN}", "me:", "")),
    "Digest " + basic(f"me:{TOKEN}").partition(" ")[2],
]


@pytest.mark.parametrize("header", WRONG)
def test_nothing_else_does(header: str) -> None:
    with served(Guard(app, TOKEN)) as port:
        status, _, body = ask(port, Authorization=header)
    assert status == 401
    assert b"secrets" not in body


def test_a_token_may_be_of_any_bytes() -> None:
    """The environment holds bytes."""
    token = bytes(range(128, 256))
    with served(Guard(app, os.fsdecode(token))) as port:
        for password, status in ((token, 200), (token[1:], 401)):
            assert ask(port, Authorization="Basic " + base64.b64encode(b"me:" + password).decode())[0] == status


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
    for token, credentials in ((None, {}), (TOKEN, right)):
        with served(Guard(app, token)) as port:
            for headers in OTHERS:
                status, _, body = ask(port, method, body="{}", Host="localhost:8080", **credentials, **headers)
                assert (status, b"secrets" in body) == (403, False), headers
            for headers in OWN:
                assert ask(port, method, body="{}", Host="localhost:8080", **credentials, **headers)[0] == 200, headers


@pytest.mark.parametrize("method", READING)
def test_a_page_elsewhere_may_link_to_it_and_no_more(method: str) -> None:
    """A browser's requests for another site's page reach the dashboard, though that page may not read the answer."""
    for token, credentials in ((None, {}), (TOKEN, {"Authorization": basic(f"me:{TOKEN}")})):
        with served(Guard(app, token)) as port:
            for mode in ("no-cors", "cors", "same-origin", "websocket", ""):
                status, _, body = ask(port, method, Sec_Fetch_Site="cross-site", Sec_Fetch_Mode=mode, **credentials)
                assert (status, b"secrets" in body) == (403, False), mode
            assert ask(port, method, Sec_Fetch_Site="cross-site", **credentials)[0] == 403
            assert ask(port, method, Sec_Fetch_Site="cross-site", Sec_Fetch_Mode="navigate", **credentials)[0] == 200


def test_no_other_page_reads_or_frames_what_it_answers() -> None:
    with served(Guard(app, None)) as port:
        for path, sandboxed in (("/dashboard/studies/1", False), ("/static/bundle.js", False), ("/artifacts/1/2/3", True)):
            _, headers, _ = ask(port, path=path)
            assert "access-control-allow-origin" not in headers
            assert headers["x-content-type-options"] == "nosniff"
            assert headers["x-frame-options"] == "DENY"
            assert headers["referrer-policy"] == "same-origin"
            assert headers["cross-origin-resource-policy"] == "same-origin"
            assert (headers.get("content-security-policy") == "sandbox") == sandboxed


def test_no_script_of_an_uploaded_file_runs_however_its_address_is_written(tmp_path: Path) -> None:
    """optuna-dashboard drops from an address what is not UTF-8, and still finds the file."""
    storage = open_storage(f"sqlite:///{tmp_path}/x.db")
    optuna.create_study(storage=storage)
    with served(Guard(wsgi(storage, artifact_store=artifact_store(tmp_path)), None)) as port:
        file = {"file": "data:text/html;base64,PHNjcmlwdD4=", "filename": "x.html"}
        answer = ask(port, "POST", "/api/artifacts/1", json.dumps(file), Content_Type="application/json")[2]
        for start in ("artifacts", "%FFartifacts", "artifacts%FF", "%C3artifacts", "%61rtifacts"):
            path = f"/{start}/1/{json.loads(answer)['artifact_id']}"
            status, headers, body = ask(port, path=path)
            assert (status, headers["content-type"], body) == (200, "text/html", b"<script>"), path
            assert headers["content-security-policy"] == "sandbox", path


@pytest.mark.parametrize(("length", "left"), [("1000", 0), ("900", 100), ("", 1000), ("-1", 1000), ("many", 1000)])
def test_what_is_refused_is_read_to_its_end(length: str, left: int) -> None:
    """If a connection is closed on unread data, some systems lose the answer with it. No more is read than was announced."""
    sent = io.BytesIO(bytes(1000))
    environ = {"REQUEST_METHOD": "POST", "HTTP_HOST": "evil.example", "CONTENT_LENGTH": length, "wsgi.input": sent}
    (body,) = Guard(app, None)(environ, lambda *_: sent.write)
    assert b"need one of the names" in body
    assert len(sent.read()) == left
