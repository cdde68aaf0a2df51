"""Checks the mail server: connects, with TLS as it would for a mail, and logs in. Sends nothing."""

from __future__ import annotations

from cluster.checks.finding import Finding, fail, ok, reason_of, warn
from cluster.settings import Settings

SUBJECT, WHERE = "mail", "FOTOGRAMA_SMTP_URL"


async def mail_findings(settings: Settings) -> list[Finding]:
    if settings.smtp_url is None:
        return [warn(SUBJECT, "There is no mail server: mails are only logged.", "Set one.", WHERE)]
    import aiosmtplib  # noqa: PLC0415

    from actors.notify.email_sender import Mailer  # noqa: PLC0415

    try:
        await Mailer(settings.smtp_url.get_secret_value()).check()
    except ValueError as error:
        return [fail(SUBJECT, f"The address can't be used: {reason_of(error)}.", "Correct it.", WHERE)]
    except aiosmtplib.SMTPAuthenticationError:
        return [fail(SUBJECT, "The mail server refuses user or password.", "Correct them.", WHERE)]
    except (aiosmtplib.SMTPException, OSError) as error:
        text = f"The mail server can't be used: {reason_of(error)}."
        return [fail(SUBJECT, text, "Check host, port and certificate. Mails wait for a day meanwhile.", WHERE)]
    return [ok(SUBJECT, "The mail server takes the connection and the log-in.", WHERE)]
