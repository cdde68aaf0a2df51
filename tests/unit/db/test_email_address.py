"""Normalization of e-mail addresses."""

from __future__ import annotations

from email.message import EmailMessage

import pytest
from hypothesis import given
from hypothesis import strategies as st

from db.values.email_address import normal_email


@given(st.emails() | st.text() | st.from_regex(r"[a-z=?.]{1,9}@[a-zß-ÿА-я.-]{1,9}", fullmatch=True))
def test_normalized_address_is_stable_and_a_mail_can_carry_it(text: str) -> None:
    email = normal_email(text)
    if email is not None:
        assert normal_email(email) == email
        assert normal_email(f" {text.strip()} ") == email
        assert email.isascii()
        assert email == email.lower()
        message = EmailMessage()
        message["To"] = email
        (address,) = message["To"].addresses
        assert address.addr_spec == email


@given(st.emails())
def test_letter_case_of_an_address_is_ignored(email: str) -> None:
    assert normal_email(email.upper()) == normal_email(email.lower())


@pytest.mark.parametrize("email", ["ana@host.local", "ana@mail.internal", "ana@example.test", "root@localhost"])
def test_private_network_host_is_a_valid_mail_domain(email: str) -> None:
    assert normal_email(email) == email


@pytest.mark.parametrize("email", ["a..b@x.org", ".a@x.org", "a@x..org", "a@-x.org", "x" * 65 + "@x.org", "a@b@x.org"])
def test_malformed_address_is_rejected(email: str) -> None:
    assert normal_email(email) is None
