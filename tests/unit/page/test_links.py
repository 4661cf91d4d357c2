from collections.abc import Callable
from urllib.parse import unquote, urljoin, urlsplit

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from dropsweep.page import ReportData, render
from dropsweep.page.markup import href_beside

PAGE = "file:///home/me/job/report.html"


@pytest.mark.parametrize(
    ("path", "href"),
    [
        ("runs/a/b/job/results.csv", "results.csv"),
        ("runs/a/b/job/my file #1?.txt", "my%20file%20%231%3F.txt"),
        ("runs/a/b/job/javascript:alert(1)", "javascript%3Aalert%281%29"),
        ("runs/a/b/job/%2e%2e/x", "%252e%252e/x"),
    ],
)
def test_path_below_the_jobs_folder_becomes_a_relative_link(path: str, href: str) -> None:
    assert href_beside("a/b/job", path) == href


@pytest.mark.parametrize(
    "path",
    [
        *(
            "",
            "runs",
            "runs/a/b/job",
            "runs/a/b/job/trials/0000003/checkpoints/",
            "runs/a/b/job/",
            "runs/a/b/job2/x",
            "runs/a/b/other/x",
            "a/b/job/x",
        ),
        *("runs/a/b/job//evil.example/x", "runs/a/b/job/../x", "runs/a/b/job/x/./y", "runs/a/b/job/x/.."),
        *("runs/a/b/job/\x00", "runs/a/b/job/\ud800", "runs/a/b/job/\u202e", "runs/a/b/job/" + "x" * 9999),
    ],
)
def test_path_elsewhere_or_of_odd_steps_gets_no_link(path: str) -> None:
    assert href_beside("a/b/job", path) is None


@given(st.text() | st.text(alphabet="./\\:%?#&a"))
@example("..\\x")
@example("//host/x")
def test_link_leads_to_its_file_below_the_page_whatever_the_name(name: str) -> None:
    href = href_beside("a/b/job", f"runs/a/b/job/{name}")
    if href is not None:
        target = urljoin(PAGE, href)
        assert not set(href) & set(":\\\"'<>?#&")
        assert unquote(urlsplit(target).path) == f"/home/me/job/{name}"


def test_files_keep_their_whole_path_as_text(make_sweep: Callable[..., ReportData]) -> None:
    path = "runs/vision/digits/digits-0123456789/a 'b'.csv"
    text = render(make_sweep(3, files={"results": path, "elsewhere": "jobs/vision/x.yaml"}))
    assert '<a href="a%20%27b%27.csv"><code>runs/vision/digits/digits-0123456789/a &#x27;b&#x27;.csv</code></a>' in text
    assert "<dd><code>jobs/vision/x.yaml</code></dd>" in text
