import pytest

from pipeline.net.allowlist import AllowList, Permission, is_public


def checked(entry: str, url: str) -> Permission | str:
    return AllowList([entry]).check(url)


@pytest.mark.parametrize(
    ("entry", "url"),
    [
        ("*.wiro.ai", "https://cdn1.wiro.ai/a.mp4"),
        ("*.wiro.ai", "https://a.b.WIRO.ai./a.mp4"),
        ("cdn.example.com", "https://cdn.example.com/x"),
        ("cdn.example.com", "http://cdn.example.com/x"),
        ("*.wiro.ai", "https://cdn1.wiro.ai:443/a.mp4"),
        ("*.wiro.ai", "https://cdn1.wiro.ai:80/a.mp4"),
        ("*.wiro.ai:8443", "https://cdn1.wiro.ai:8443/a.mp4"),
        ("127.0.0.1:8080", "http://127.0.0.1:8080/x"),
        ("localhost", "http://localhost:99/x"),
        ("[::1]:8080", "http://[::1]:8080/x"),
    ],
)
def test_listed_hosts_are_allowed(entry: str, url: str) -> None:
    assert isinstance(checked(entry, url), Permission)


@pytest.mark.parametrize(
    ("entry", "url"),
    [
        ("*.wiro.ai", "https://wiro.ai/x"),
        ("*.wiro.ai", "https://evilwiro.ai/x"),
        ("*.wiro.ai", "https://cdn.wiro.ai.evil.com/x"),
        ("*.wiro.ai", "https://evil.com/?.wiro.ai"),
        ("*.wiro.ai", "https://evil.com#.wiro.ai"),
        ("*.wiro.ai", "http://cdn1.wiro.ai/x"),
        ("*.wiro.ai", "https://user@cdn1.wiro.ai/x"),
        ("*.wiro.ai", "ftp://cdn1.wiro.ai/x"),
        ("*.wiro.ai", "file:///etc/passwd"),
        ("*.wiro.ai", "https://[::1"),
        ("*.wiro.ai", "https://cdn1.wiro.ai:99999/x"),
        ("*.wiro.ai", "https://cdn1.wiro.ai:8443/x"),
        ("*.wiro.ai", "https://cdn1.wiro.ai:22/x"),
        ("*.wiro.ai", r"https://attacker.example\.wiro.ai/x"),
        ("*.wiro.ai:8443", "https://cdn1.wiro.ai/x"),
        ("cdn.example.com:8443", "https://cdn.example.com/x"),
        ("127.0.0.1:8080", "http://127.0.0.1:8081/x"),
        ("localhost", "http://127.0.0.1/x"),
    ],
)
def test_other_urls_are_refused_with_a_reason(entry: str, url: str) -> None:
    assert isinstance(checked(entry, url), str)


@pytest.mark.parametrize(
    ("entry", "url", "private"),
    [
        ("*.wiro.ai", "https://cdn1.wiro.ai/", False),
        ("cdn.example.com", "https://cdn.example.com/", False),
        ("minio.internal:9000", "http://minio.internal:9000/", True),
        ("10.0.0.7", "http://10.0.0.7/", True),
    ],
)
def test_only_exact_entries_allow_private_addresses(entry: str, url: str, private: bool) -> None:
    permission = checked(entry, url)
    assert isinstance(permission, Permission)
    assert permission.private is private


@pytest.mark.parametrize(
    "address", ["8.8.8.8", "2606:4700::1111", "::ffff:8.8.8.8", "64:ff9b::808:808", "2002:808:808::1"]
)
def test_public_addresses(address: str) -> None:
    assert is_public(address)


@pytest.mark.parametrize(
    "address",
    [
        "127.0.0.1", "10.1.2.3", "172.16.0.1", "192.168.1.1", "169.254.169.254", "100.64.0.1", "0.0.0.0", "224.0.0.1",
        "255.255.255.255", "::1", "::", "fe80::1", "fe80::1%eth0", "fc00::1", "ff02::1", "::ffff:127.0.0.1",
        "::ffff:169.254.169.254", "64:ff9b::7f00:1", "2002:7f00:1::", "2001:0:4136:e378:8000:63bf:3fff:fdd2",
        "fec0::1", "feff::1", "192.0.0.1", "192.0.0.9", "192.0.0.192", "168.63.129.16", "192.88.99.1", "3fff::1",
        "3fff:fff::1", "::7f00:1", "::10.0.0.1", "::8.8.8.8", "::ffff:168.63.129.16", "::ffff:0:127.0.0.1",
        "2002:a00:1::1", "2002:c000:9::1", "64:ff9b::a00:1", "64:ff9b::a83f:8110", "64:ff9b:1::808:808", "2001:db8::1",
        "100::1", "5f00::1", "198.18.0.1", "203.0.113.1", "240.0.0.1", "fd00:ec2::254", "100.100.100.200",
    ],
)  # fmt: skip
def test_other_addresses_are_not_public(address: str) -> None:
    assert not is_public(address)
