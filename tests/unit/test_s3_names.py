"""Which objects are below a prefix: no key leads out of it."""

import pytest

from pipeline.domain.s3_names import is_below

PREFIXES = ("s3://bucket/pre/", "s3://whole/")


@pytest.mark.parametrize(
    "uri",
    [
        "s3://bucket/pre/1.jpg",
        "s3://bucket/pre/a b/ü%.jpg",
        "s3://bucket/pre/",
        "s3://bucket/pre/out/",
        "s3://whole/",
        "s3://whole/x",
    ],
)
def test_an_object_below_a_prefix(uri: str) -> None:
    assert is_below(uri, PREFIXES)


@pytest.mark.parametrize(
    "uri",
    [
        "s3://bucket/prefix2/1.jpg", "s3://bucket/pre", "s3://bucket/", "s3://bucket", "s3://bucket2/pre/1.jpg",
        "s3://whole2/x", "s3://whole", "s3:///bucket/pre/1.jpg", "S3://bucket/pre/1.jpg", "https://bucket/pre/1.jpg",
        "s3://bucket/pre/../x", "s3://bucket/pre/./x", "s3://bucket/pre/..", "s3://bucket/pre//x", "s3://bucket//pre/x",
        "s3://bucket/pre/%2e%2e/x", "s3://bucket/pre/%2E./x", "s3://bucket/pre/..%2fx", "s3://bucket/pre/a%2Fb",
        "s3://bucket/pre/..%5cx", "s3://bucket/pre/..\\x", "s3://bucket/pre/a\nb", "s3://bucket/pre/a\0b", "s3://whole/../x",
        "s3://bucket/../whole/x", "",
    ],
)  # fmt: skip
def test_no_other_object_is_below_a_prefix(uri: str) -> None:
    assert not is_below(uri, PREFIXES)


def test_a_prefix_without_a_slash_allows_nothing() -> None:
    assert not is_below("s3://bucket/prefix2/1.jpg", ("s3://bucket/pre",))
