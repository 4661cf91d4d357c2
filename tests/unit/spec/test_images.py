"""Two references name one image, or they do not."""

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from dropsweep.spec.images import canonical, is_image

DIGEST = "sha256:" + "0a" * 32


@pytest.mark.parametrize(
    ("reference", "same"),
    [
        ("ubuntu", "docker.io/library/ubuntu:latest"),
        ("library/ubuntu:latest", "docker.io/library/ubuntu:latest"),
        ("index.docker.io/ubuntu", "docker.io/library/ubuntu:latest"),
        ("pytorch/pytorch:2.5", "docker.io/pytorch/pytorch:2.5"),
        (
            "mcr.microsoft.com/azureml/openmpi4.1.0-ubuntu22.04",
            "mcr.microsoft.com/azureml/openmpi4.1.0-ubuntu22.04:latest",
        ),
        ("localhost/a", "localhost/a:latest"),
        ("localhost:5000/a:1", "localhost:5000/a:1"),
        ("Registry.Example/a/b_c/d--e", "registry.example/a/b_c/d--e:latest"),
        (f"a:1@{DIGEST}", f"docker.io/library/a@{DIGEST}"),
        (f"a@{DIGEST}", f"docker.io/library/a@{DIGEST}"),
    ],
)
def test_a_reference_has_one_spelling(reference: str, same: str) -> None:
    assert canonical(reference) == canonical(same) == same


@pytest.mark.parametrize(
    "text",
    [
        "",
        "Ubuntu",
        "a b",
        "a/",
        "/a",
        "a:",
        "a@sha256:1",
        "azureml:env:1",
        "azureml:env@latest",
        "https://a.example/b",
        "a\n",
    ],
)
def test_what_is_no_reference_is_none(text: str) -> None:
    assert not is_image(text)


@given(st.text("aZ0.-_/:@", max_size=30))
@example("Z/0")
def test_the_one_spelling_is_its_own(text: str) -> None:
    spelled = canonical(text)
    assert spelled is None or canonical(spelled) == spelled
