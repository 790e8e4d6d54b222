"""What is taken out of texts before anybody is shown them: of URLs, and of what commands print."""

from __future__ import annotations

import pytest

from dvc_ray import redact


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
    found = redact.bare(text.encode()).decode()
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
    assert redact.bare(text.encode()).decode() == text


def test_settings_that_are_called_so() -> None:
    assert redact.named("password")
    assert redact.named("apitoken")
    assert not redact.named("signingkey")
    assert redact.named("DVC_STUDIO_TOKEN")
    assert not redact.named("credentialpath")
    assert not redact.named("ask_password")


@pytest.mark.parametrize(
    ("text", "public"),
    [
        ("s3://KEY:secret@bucket/path", "s3://bucket/path"),
        ("get 'https://h/x?sv=1&sig=abc%2Bd&se=2' failed", "get 'https://h/x?sv=1&sig=***&se=2' failed"),
        ("/x?X-Amz-Credential=AK%2Fus&X-Amz-Signature=0af1", "/x?X-Amz-Credential=***&X-Amz-Signature=***"),
        ("Max retries exceeded with url: /x?token=abc (Caused", "Max retries exceeded with url: /x?token=*** (Caused"),
        ("https://h/x#access_token=abc", "https://h/x#access_token=***"),
        ("AccountName=a;AccountKey=abc==;EndpointSuffix=x", "AccountName=a;AccountKey=***;EndpointSuffix=x"),
        ("{'Authorization': 'Bearer abc'}", "{'Authorization': 'Bearer ***'}"),
        ("remote 'https://me:se/cret@example.com'", "remote 'https://example.com'"),
    ],
)
def test_keys_and_signatures_are_taken_out(text: str, public: str) -> None:
    assert redact.public(text) == public
    assert redact.public(public) == public


@pytest.mark.parametrize(
    "text",
    [
        "https://example.com/x?size=1&page=2",
        "python train.py --key=1 --lr=0.1",
        "remote 'r' (https://example.com:8443), seen from me@host",
        "a=1;b=2",
    ],
)
def test_what_has_no_secret_is_said_as_it_is(text: str) -> None:
    assert redact.public(text) == text


@pytest.mark.parametrize("path", ["deploy.pem", ".env", "sub/.env.local", "id_rsa", "a/.npmrc", ".aws/config"])
def test_files_that_are_called_like_secrets(path: str) -> None:
    assert redact.named_file(path)


@pytest.mark.parametrize("path", [".env.example", "id_rsa.pub", "credentials.py", "keys.csv", "env/x", "token.txt"])
def test_files_that_are_not(path: str) -> None:
    assert not redact.named_file(path)


KEY = "-----BEGIN KEY-----\nabcdefgh12345678\nxy\n-----END KEY-----\n"
OUTPUT = f"a tok-123-en b\ntok-123tok-123-en\n{KEY}and abcdefgh12345678, {KEY!r}, n123-entail {KEY.strip()}"


@pytest.mark.parametrize("size", [1, 2, 3, 7, 16, 1000])
def test_secrets_are_masked_wherever_an_output_is_split(size: int) -> None:
    mask = redact.Mask.of(["tok-123-en", KEY, "123-entail", "no"])
    masked = redact.Masked(mask)
    data = OUTPUT.encode()
    pieces = [masked.take(data[at : at + size]) for at in range(0, len(data), size)]
    found = b"".join([*pieces, masked.end()]).decode()
    assert found == mask.text(OUTPUT)
    assert found == "a *** b\ntok-123***\n***\nand ***, ***\\n', n*** ***".replace("***\\n'", "'***\\n'")


def test_secrets_that_overlap_are_masked_both() -> None:
    mask = redact.Mask.of(["xabc", "bcdef"])
    for split in range(7):
        masked = redact.Masked(mask)
        assert masked.take(b"xabcdef"[:split]) + masked.take(b"xabcdef"[split:]) + masked.end() == b"***"


def test_nothing_is_held_back_that_is_no_beginning_of_a_secret() -> None:
    masked = redact.Masked(redact.Mask.of(["token"]))
    assert masked.take(b"epoch 1: loss 0.1 to") == b"epoch 1: loss 0.1 "
    assert masked.take(b" go") == b"to go"


def test_an_output_that_is_nothing_but_a_secret_is_not_kept_in_memory() -> None:
    masked = redact.Masked(redact.Mask.of(["aaaa"]))
    for _ in range(40):
        masked.take(b"a" * 4096)
    assert len(masked._held) < 1 << 17


def test_what_is_too_short_is_not_masked() -> None:
    assert not redact.Mask.of(["no", "1", ""])
    assert "secret" not in repr(redact.Mask.of(["secret"]))
