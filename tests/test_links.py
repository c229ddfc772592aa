"""Every link of texts and lessons leads to an existing file and heading; external links are listed."""

import http.server
import threading

import pytest

from course_utils.making import links


@pytest.fixture(scope="module")
def found():
    return links.texts()


def test_links_inside_lead_somewhere(found):
    assert len(found) > 20 and links.internal_faults(found) == []


def test_links_outside_are_listed(found):
    """python -m course_utils.making.links --write"""
    assert links.LIST.read_text(encoding="utf-8") == links.listed(links.external(found))


@pytest.mark.parametrize(
    "text, fault",
    [
        ("[a](nothing.md)", "nothing.md is not there"),
        ("![a](docs/images/nothing.png)", "docs/images/nothing.png is not there"),
        ("[a](#nothing)", "#nothing: no such heading"),
        ("[a](../outside.md)", "../outside.md is not there"),
        ("[`a[0]`](nothing.md)", "nothing.md is not there"),
    ],
)
def test_a_link_that_leads_nowhere_is_found(text, fault):
    assert links.internal_faults({"README.md": text}) == [f"README.md: {fault}"]


@pytest.mark.parametrize(
    "text",
    [
        "[a](LICENSE)",
        "# A heading, `here`\n[a](#a-heading-here)",
        "`[a](nothing.md)`",
        "[a](https://b.example)",
    ],
)
def test_other_links_are_not(text):
    assert links.internal_faults({"README.md": text}) == []


def test_addresses_end_before_the_sentence():
    text = "See <https://a.example/b>, https://c.example/d. [e](https://f.example/g#h)"
    assert list(links.external({"x": text})) == [
        "https://a.example/b",
        "https://c.example/d",
        "https://f.example/g#h",
    ]


def test_what_a_server_says():
    class Server(http.server.BaseHTTPRequestHandler):
        def do_GET(self):
            self.send_response(200 if self.path == "/here" else 404)
            self.end_headers()

        def log_message(self, *_):
            pass

    server = http.server.HTTPServer(("127.0.0.1", 0), Server)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    address = f"http://127.0.0.1:{server.server_port}"
    assert links.answer(f"{address}/here#part") == ""
    assert links.answer(f"{address}/gone") == "status 404"
    server.shutdown()
    server.server_close()
    assert "refused" in links.answer(f"{address}/here")
