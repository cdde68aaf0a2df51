"""E-mail addresses: which ones an account may have, and their normal form, which is stored and compared."""

from __future__ import annotations

from email.errors import MessageError
from email.headerregistry import Address


def normal_email(text: str) -> str | None:
    """Returns the address in lower case, its domain in IDNA form. None when a mail header can't hold the address.

    DNS is not asked: only a mail can show whether mail arrives.
    """
    import email_validator  # noqa: PLC0415

    # A service inside one company may send mail to domains that the public internet does not have.
    email_validator.SPECIAL_USE_DOMAIN_NAMES.clear()
    try:
        found = email_validator.validate_email(
            text.strip(), strict=True, allow_smtputf8=False, globally_deliverable=False, check_deliverability=False
        )
    except email_validator.EmailNotValidError:
        return None
    assert found.ascii_email is not None
    email = found.ascii_email.lower()
    return email if _is_named_as_it_is(email) else None


def _is_named_as_it_is(email: str) -> bool:
    """Returns whether the address contains an encoded word (RFC 2047), which mail programs would decode."""
    try:
        return Address(addr_spec=email).addr_spec == email
    except (MessageError, ValueError, LookupError):
        # The errors of the parser have no common base class, and it also lets an IndexError through.
        return False
