"""Who may speak to the server, and what it gives away."""

from __future__ import annotations

import urllib.error
import urllib.request

import pytest

from tests.live.clients import Client, Serving, ask


def test_doors(serving: Serving) -> None:
    from websockets.exceptions import InvalidStatus

    served = serving()
    assert ask(served, "/health")[0] == 200
    assert ask(served, "/", Host="evil.example")[0] == 403
    assert ask(served, "/api/about", Origin="http://evil.example")[0] == 403
    assert ask(served, "/", Host="[")[0] == ask(served, "/", Origin="http://[")[0] == 403
    with pytest.raises(InvalidStatus):
        Client(served.address, origin="http://evil.example")
    Client(served.address, origin=f"http://{served.address}").start()
    guarded = serving(token="secret", is_local=False)
    assert ask(guarded, "/", Host="my.example")[0] == 200
    assert ask(guarded, "/api/about")[0] == 403
    assert ask(guarded, "/api/about", Authorization="Bearer wrong")[0] == 403
    assert ask(guarded, "/api/about", Authorization="Bearer secret")[0] == 200
    # A token in the address would stand in logs, and opens nothing; clients that are no pages send the usual header.
    for refused in ({"path": "/live?token=secret"}, {"subprotocols": ["perfrdiff", "wrong"]}):
        with pytest.raises(InvalidStatus):
            Client(guarded.address, **refused)
    client = Client(guarded.address, subprotocols=["perfrdiff", "secret"])
    assert client.socket.subprotocol == "perfrdiff" and client.start()["type"] == "started"
    client = Client(guarded.address, additional_headers={"Authorization": "Bearer secret"})
    assert client.start()["type"] == "started"
    with pytest.raises(ValueError, match="letters, digits"):
        serving(token="my secret")


def test_all_answers_carry_the_policy(serving: Serving) -> None:
    """The tracker's worker has that of its own file; a head's textures come as blobs; nobody else is asked."""
    served = serving(framed_by="https://huggingface.co")
    for path in ("/", "/page/tracker-worker.js", "/page/main.js", "/api/about", "/nothing"):
        request = urllib.request.Request(f"http://{served.address}{path}")
        opener = urllib.request.build_opener(urllib.request.ProxyHandler({}))
        try:
            headers = opener.open(request, timeout=60).headers
        except urllib.error.HTTPError as error:
            headers = error.headers
        policy = dict(part.strip().split(" ", 1) for part in headers["Content-Security-Policy"].split(";"))
        assert policy["connect-src"] == "'self' blob:" and policy["default-src"] == "'none'"
        assert policy["frame-ancestors"] == "https://huggingface.co"
        assert headers["X-Content-Type-Options"] == "nosniff" and headers["Cache-Control"] == "no-cache"


def test_doors_of_an_app_that_is_mounted(serving: Serving) -> None:
    from starlette.applications import Starlette
    from starlette.routing import Mount
    from websockets.exceptions import InvalidStatus

    served = serving(token="secret", is_local=False, mounted=lambda app: Starlette(routes=[Mount("/below", app)]))
    assert ask(served, "/below/")[0] == 200
    assert ask(served, "/below/api/about")[0] == 403
    assert ask(served, "/below/api/about", Authorization="Bearer secret")[0] == 200
    with pytest.raises(InvalidStatus):
        Client(served.address, "/below/live")
    client = Client(served.address, "/below/live", subprotocols=["perfrdiff", "secret"])
    assert client.start()["type"] == "started"


def test_files_of_the_machine_are_not_served(serving: Serving) -> None:
    served = serving()
    for path in ("/page/../server.py", "/page/%2e%2e/server.py", "/vendor/../../secret", "/page//etc/passwd"):
        assert ask(served, path)[0] in (400, 404)
