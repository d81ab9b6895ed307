"""What Slack's error codes mean for a delivery."""

from __future__ import annotations

from typing import Final

from exporter.errors import DeliveryError, PermanentDeliveryError, TemporaryDeliveryError

MENDABLE: Final = frozenset(
    (
        *("access_denied", "account_inactive", "accesslimited", "ekm_access_denied", "invalid_auth"),
        *("missing_scope", "no_permission", "not_authed", "not_allowed_token_type", "org_login_required"),
        *("token_expired", "token_revoked", "two_factor_setup_required", "team_access_not_granted"),
        *("channel_not_found", "is_archived", "not_in_channel", "is_inactive", "user_not_found"),
        *("restricted_action", "restricted_action_read_only_channel", "restricted_action_thread_locked"),
        *("restricted_action_non_threadable_channel", "restricted_action_thread_only_channel"),
        *("team_not_found", "team_disabled", "duplicate_channel_not_found", "messages_tab_disabled"),
        *("no_service", "no_service_id", "no_active_hooks", "no_team", "invalid_token"),
        *("channel_is_archived", "action_prohibited", "posting_to_general_channel_denied"),
        *("method_not_supported_for_channel_type", "unknown_method", "enterprise_is_restricted"),
    )
)
"""It refuses us or the channel, not the message: somebody has to give a token, a scope or an invitation."""

TRANSIENT: Final = frozenset(
    {"internal_error", "fatal_error", "service_unavailable", "request_timeout", "rollup_error", "timeout"}
)
"""Slack failed, and says that part of what it was asked may have been done."""

LIMITED: Final = frozenset({"ratelimited", "rate_limited", "message_limit_exceeded", "team_added_to_org"})
"""Nothing was done; it is too much, or too early."""

GONE: Final = frozenset({"message_not_found", "thread_not_found", "cannot_reply_to_message"})
"""The message that begins the thread was deleted."""

_WAIT_SECONDS = 30.0
_ADVICE = {
    "not_in_channel": "invite the app to the channel (/invite @app)",
    "channel_not_found": "check the channel's id, and invite the app where it is private",
    "missing_scope": "give the app the scopes that docs/slack.md lists, and install it again",
    "token_revoked": "set a new bot_token",
    "account_inactive": "set a new bot_token",
    "invalid_auth": "set a new bot_token",
    "no_service": "set a new webhook_url",
    "no_active_hooks": "set a new webhook_url",
}


class SlackError(Exception):
    """Slack's own answer to one call: it was read, and the answer is no."""

    def __init__(self, code: str, detail: str = "") -> None:
        super().__init__(code)
        self.code = code
        self.detail = detail


def delivery_error(code: str, detail: str = "") -> DeliveryError:
    """The error that a code stands for; what is not known may be the message's form."""
    sentence = f"Slack answered {code}"
    if detail:
        sentence += f" ({detail})"
    if code in LIMITED:
        return TemporaryDeliveryError(sentence, retry_after_seconds=_WAIT_SECONDS, whole_channel=True)
    if code in TRANSIENT:
        return TemporaryDeliveryError(sentence, uncertain=True)
    if code in MENDABLE:
        advice = _ADVICE.get(code)
        text = f"{sentence}: {advice}" if advice else sentence
        return PermanentDeliveryError(text, whole_channel=True)
    return PermanentDeliveryError(sentence, plain_may_work=True)
