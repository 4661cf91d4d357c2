"""What is made of measured numbers."""

import pytest

from bench.results import quantile
from bench.sampled import package_of


@pytest.mark.parametrize(("share", "expected"), [(0.0, 1.0), (0.5, 2.5), (1.0, 4.0), (0.25, 1.75), (0.95, 3.85)])
def test_a_quantile_lies_between_its_neighbours_whatever_the_order(share: float, expected: float) -> None:
    assert quantile([3.0, 1.0, 4.0, 2.0], share) == pytest.approx(expected)


def test_every_quantile_of_one_value_is_that_value() -> None:
    assert [quantile([7.0], share) for share in (0.0, 0.5, 1.0)] == [7.0, 7.0, 7.0]


@pytest.mark.parametrize(
    ("module", "package"),
    [
        ("azure.core.pipeline.policies", "azure.core"),
        ("dropsweep.storage.blobs", "dropsweep.storage"),
        ("dropsweep_trainer.worker", "dropsweep_trainer.worker"),
        ("urllib3.connectionpool", "urllib3"),
        ("socket", "socket"),
    ],
)
def test_a_sample_belongs_to_a_package(module: str, package: str) -> None:
    assert package_of(module) == package
