"""E-mail addresses: which ones an account may have, and the one form that each is stored and found by."""

from __future__ import annotations

from email.errors import MessageError
from email.headerregistry import Address


def normal_email(text: str) -> str | None:
    """Lower case, the domain as DNS has it (IDNA). None when no mail's header can name this address.

    Nobody asks DNS: whether a mail arrives only a mail can tell.
    """
    import email_validator  # noqa: PLC0415

    # A service for one machine or one company mails to names that the internet does not have.
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
    """An encoded word (RFC 2047) would be read as what it encodes."""
    try:
        return Address(addr_spec=email).addr_spec == email
    except (MessageError, ValueError, LookupError):
        # What the parser raises has no root of its own; beside its own errors it lets an IndexError through.
        return False
