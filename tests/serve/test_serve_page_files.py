"""The page at / over HTTP: its files, its headers, its addresses."""

import re
from pathlib import Path

import pytest

from bark_onnx_serve.lists import BARKS_MARKS
from bark_onnx_serve.page.routes import read_files
from serving import Running, running

TEXTS = {name: content.decode() for name, content in read_files().items()}


def test_every_file_of_the_page_is_sent_with_its_type_and_the_policy(server: Running) -> None:
    types = {"css": "text/css", "html": "text/html", "js": "text/javascript", "svg": "image/svg+xml"}
    for name, text in TEXTS.items():
        answer = server.get("/" if name == "index.html" else f"/page/{name}")
        assert (answer.status, answer.body.decode()) == (200, text)
        assert answer.headers.get_content_type() == types[name.rpartition(".")[2]]
        policy = answer.headers["content-security-policy"]
        assert "default-src 'none'" in policy
        assert "unsafe" not in policy
        assert answer.headers["x-content-type-options"] == "nosniff"
        assert answer.headers["referrer-policy"] == "no-referrer"


def test_only_the_files_of_the_page_are_sent(server: Running) -> None:
    for path in (
        "/page/",
        "/page/routes.py",
        "/page/../routes.py",
        "/page/..%2f..%2fcli.py",
        "/page/index.html",
        "/page/%00",
    ):
        assert server.get(path).status == 404


def test_a_browser_that_has_a_file_gets_no_second_copy(server: Running) -> None:
    tag = server.get("/page/main.js").headers["etag"]
    again = server.get("/page/main.js", **{"If-None-Match": tag})
    assert (again.status, again.body) == (304, b"")
    assert server.get("/page/style.css", **{"If-None-Match": tag}).status == 200


def test_the_page_has_no_script_and_no_style_inside_and_nothing_from_elsewhere() -> None:
    html = TEXTS["index.html"]
    assert re.findall(r"<script(?![^>]*\bsrc=)|<style|\bstyle=|\bon\w+=", html) == []
    for name, text in TEXTS.items():
        without_namespace = text.replace('xmlns="http://www.w3.org/2000/svg"', "")
        assert re.findall(r"https?://|innerHTML|eval\(", without_namespace) == [], name


def test_the_page_has_a_button_for_each_of_barks_marks() -> None:
    """It shows those that the model knows, by their words."""
    (group,) = re.findall(r'<div id="marks".*?</div>', TEXTS["index.html"], re.DOTALL)
    assert tuple(re.findall(r">([^<]+)</button>", group)) == BARKS_MARKS


def test_every_address_in_the_page_is_relative_and_there(server: Running) -> None:
    addresses = re.findall(r'(?:href|src)="([^"]+)"', TEXTS["index.html"])
    addresses += [f"page/{name}" for text in TEXTS.values() for name in re.findall(r'from "\./([\w.]+)"', text)]
    assert len(addresses) > 10
    for address in addresses:
        assert not address.startswith(("/", "http"))
        assert server.get(f"/{address}").status == 200


def test_a_server_with_a_key_shows_its_page_below_a_path(bundle: Path) -> None:
    with running(bundle, api_keys=("secret",), root_path="/speech") as server:
        for path in ("/", "/speech/", "/page/main.js", "/speech/page/main.js", "/speech/docs"):
            assert server.get(path).status == 200
        moved = server.get("/speech")
        assert (moved.status, moved.headers["location"]) == (307, "/speech/")
        assert server.get("/speech/v1/models").status == 401
        assert server.post("/page/main.js", {}).status == 401


@pytest.mark.parametrize("name", ["index.html", "main.js", "style.css"])
def test_the_files_are_small_enough_to_read(name: str) -> None:
    assert TEXTS[name].count("\n") < 260
