"""The block for mail, a type that Prefect's server needs to know to send it."""

from __future__ import annotations

import logging

from prefect.blocks.notifications import AppriseNotificationBlock


class Mail(AppriseNotificationBlock):
    """Sends notifications by mail, over any SMTP server: Apprise's addresses `mailto:` and
    `mailtos:`."""

    _block_type_name = "Folio Mail"
    _block_type_slug = "folio-mail"


def is_mail_address(url: str) -> bool:
    """Whether Apprise would send mail with it. What it says about a wrong one may hold a secret."""
    from apprise import Apprise

    logger = logging.getLogger("apprise")
    was, logger.disabled = logger.disabled, True
    try:
        return Apprise().instantiate(url) is not None
    finally:
        logger.disabled = was
