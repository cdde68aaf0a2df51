"""The one form of an e-mail address."""

from __future__ import annotations

from email.message import EmailMessage

import pytest
from hypothesis import given
from hypothesis import strategies as st

from db.values.email_address import normal_email


@given(st.emails() | st.text() | st.from_regex(r"[a-z=?.]{1,9}@[a-zß-ÿА-я.-]{1,9}", fullmatch=True))
def test_the_form_of_an_address_is_its_own_form_and_a_mail_names_it(text: str) -> None:
    email = normal_email(text)
    if email is not None:
        assert normal_email(email) == email
        assert normal_email(f" {text.strip()} ") == email
        assert email.isascii()
        assert email == email.lower()
        message = EmailMessage()
        message["To"] = email
        (named,) = message["To"].addresses
        assert named.addr_spec == email


@given(st.emails())
def test_the_case_makes_no_difference(email: str) -> None:
    assert normal_email(email.upper()) == normal_email(email.lower())


@pytest.mark.parametrize("email", ["ana@host.local", "ana@mail.internal", "ana@example.test", "root@localhost"])
def test_names_of_a_private_network_are_addresses(email: str) -> None:
    assert normal_email(email) == email


@pytest.mark.parametrize("email", ["a..b@x.org", ".a@x.org", "a@x..org", "a@-x.org", "x" * 65 + "@x.org", "a@b@x.org"])
def test_what_no_mail_server_takes_is_no_address(email: str) -> None:
    assert normal_email(email) is None
