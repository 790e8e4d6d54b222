"""What is taken out of a Git repository's text before it goes elsewhere."""

from __future__ import annotations

import pytest

from dvc_ray.repo import passwords


@pytest.mark.parametrize(
    ("text", "public"),
    [
        ("https://me:secret@example.com/it.git", "https://example.com/it.git"),
        ("https://secret@example.com/it.git", "https://example.com/it.git"),
        ("HTTPS://me:secret@example.com:8443/it.git", "HTTPS://example.com:8443/it.git"),
        ("https://me:sec@ret@example.com/it.git", "https://example.com/it.git"),
        ("https://me:sec/ret@example.com/it.git", "https://example.com/it.git"),
        ("https://me:sec?r#et@example.com", "https://example.com"),
        ("http://me:@example.com/", "http://example.com/"),
        ("ftp://me:secret@example.com/it.git", "ftp://example.com/it.git"),
        ("ssh://git:secret@example.com:22/it.git", "ssh://git@example.com:22/it.git"),
        ("git+ssh://git:sec@ret@example.com/it.git", "git+ssh://git@example.com/it.git"),
        ("git+https://me:secret@example.com/it.git", "git+https://example.com/it.git"),
        ("remote::https://me:secret@example.com/it.git", "remote::https://example.com/it.git"),
        ("pull https://me:secret@a.com/x main: y\npull http://me:secret@b.com z", None),
        ("a <me@example.com> 1 +0000\tclone: from https://me:secret@example.com/x", None),
    ],
)
def test_passwords_are_taken_out_of_urls(text: str, public: str | None) -> None:
    found = passwords.hidden(text.encode()).decode()
    assert found == (public or text.replace("me:secret@", ""))


@pytest.mark.parametrize(
    "text",
    [
        "ssh://git@example.com/it.git",
        "ssh://me@corp@example.com/it.git",
        "git@example.com:group/it.git",
        "https://example.com/@scope/it.git",
        "https://example.com:8443/it@v1.git",
        "https://[::1]:8443/it@v1.git",
        "https://[::1]/it@v1.git",
        "https://example.com:8443 me@example.com",
        "file:///it@v1/a:b@c",
        "Me <me@example.com> 1 +0000\tcommit: see http://example.com: me@example.com",
        "/home/me:x@y/it.git",
    ],
)
def test_what_has_none_stays_as_it_is(text: str) -> None:
    assert passwords.hidden(text.encode()).decode() == text


def test_settings_that_are_called_so() -> None:
    assert passwords.named("password")
    assert passwords.named("apitoken")
    assert not passwords.named("signingkey")
