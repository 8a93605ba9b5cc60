"""Addresses that parsers read in different ways are refused."""

import pytest
from support.hostile_urls import HOSTILE_URLS

from pipeline.domain.web_address import InvalidAddress, WebAddress, parse, redirected


@pytest.mark.parametrize(
    ("url", "address"),
    [
        ("https://cdn1.wiro.ai/a.mp4", WebAddress("https", "cdn1.wiro.ai", 443, "/a.mp4")),
        ("HTTPS://CDN1.Wiro.AI./a.mp4", WebAddress("https", "cdn1.wiro.ai", 443, "/a.mp4")),
        ("http://127.0.0.1:8080?x=1", WebAddress("http", "127.0.0.1", 8080, "?x=1")),
        ("https://[2606:4700:0::1111]:8443/", WebAddress("https", "2606:4700::1111", 8443, "/")),
        ("https://cdn1.wiro.ai/ü b@c.mp4?q=é#f", WebAddress("https", "cdn1.wiro.ai", 443, "/ü b@c.mp4?q=é#f")),
        ("https://under_score.example", WebAddress("https", "under_score.example", 443, "")),
    ],
)
def test_an_address_has_one_host_and_one_port(url: str, address: WebAddress) -> None:
    assert parse(url) == address
    assert parse(str(address)) == address


@pytest.mark.parametrize("url", HOSTILE_URLS)
def test_an_address_that_parsers_read_in_different_ways_is_refused(url: str) -> None:
    with pytest.raises(InvalidAddress):
        parse(url)


@pytest.mark.parametrize(
    ("location", "target"),
    [
        ("/b", "https://a.example/b"),
        ("//evil.example/b", "https://evil.example/b"),
        ("http://[::1", "http://[::1"),
        (r"https://evil.example\.wiro.ai/", r"https://evil.example\.wiro.ai/"),
    ],
)
def test_a_redirect_leads_to_the_address_that_it_names(location: str, target: str) -> None:
    assert redirected("https://a.example/a", location) == target
