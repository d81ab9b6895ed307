"""Slack's Web API: calls with a bot's token."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence
from typing import Any, Final
from urllib.parse import urlencode, urlsplit

import orjson

from exporter.alerts.channels.slack.errors import SlackError
from exporter.alerts.channels.slack.transport import Answer, Transport
from exporter.errors import PermanentDeliveryError, TemporaryDeliveryError

PAGE: Final = 200
MOST_PAGES: Final = 15

_JSON = "application/json; charset=utf-8"
_FORM = "application/x-www-form-urlencoded"
_CODE = re.compile(r"[a-z0-9_.:-]{1,80}")


class Api:
    """Methods of one workspace."""

    def __init__(self, url: str, token: str, transport: Transport) -> None:
        self._url = url.rstrip("/")
        self._token = token
        self._transport = transport

    def post_message(self, channel: str, body: Mapping[str, Any], **arguments: Any) -> tuple[str, str]:
        """Post; returns the channel's id and the message's `ts`."""
        found = self._call("chat.postMessage", {"channel": channel, **body, **arguments})
        return str(found.get("channel") or channel), str(found.get("ts") or "")

    def update(self, channel: str, ts: str, text: str, blocks: Sequence[Mapping[str, Any]]) -> None:
        """Replace what a message shows; its metadata stay."""
        self._call("chat.update", {"channel": channel, "ts": ts, "text": text, "blocks": list(blocks)})

    def messages(self, channel: str, oldest: float, thread: str | None = None) -> Iterator[dict[str, Any]]:
        """Messages since `oldest`, with their metadata, of a channel or of a thread."""
        method = "conversations.history" if thread is None else "conversations.replies"
        cursor = ""
        for _ in range(MOST_PAGES):
            arguments = {
                "channel": channel,
                "oldest": f"{max(0.0, oldest):.6f}",
                "inclusive": "true",
                "include_all_metadata": "true",
                "limit": str(PAGE),
            }
            if thread is not None:
                arguments["ts"] = thread
            if cursor:
                arguments["cursor"] = cursor
            found = self._call(method, arguments, form=True)
            messages = found.get("messages")
            for message in messages if isinstance(messages, list) else ():
                if isinstance(message, dict):
                    yield message
            following = found.get("response_metadata")
            cursor = str(following.get("next_cursor") or "") if isinstance(following, dict) else ""
            if not cursor:
                return

    def upload(
        self, channel: str, thread: str, content: bytes, *, filename: str, title: str, alt: str
    ) -> None:
        """Share a picture in a thread."""
        asked = {"filename": filename, "length": str(len(content)), "alt_txt": alt}
        found = self._call("files.getUploadURLExternal", asked, form=True)
        url, file = str(found.get("upload_url") or ""), str(found.get("file_id") or "")
        if not file or not self._acceptable(url):
            raise SlackError("no_upload_url")
        answer = self._transport.post(url, content, "image/png", name="Slack's file upload")
        if answer.status != 200:
            raise SlackError(f"upload_status_{answer.status}")
        self._call(
            "files.completeUploadExternal",
            {"files": [{"id": file, "title": title}], "channel_id": channel, "thread_ts": thread},
        )

    def _acceptable(self, url: str) -> bool:
        """An address to upload to: as safe on the way as the API itself."""
        given, own = urlsplit(url), urlsplit(self._url)
        return given.scheme in {"https", own.scheme} and bool(given.hostname)

    def _call(self, method: str, arguments: Mapping[str, Any], *, form: bool = False) -> dict[str, Any]:
        """Call a method.

        Raises
        ------
        SlackError
            It answered no, with a code.
        TemporaryDeliveryError, PermanentDeliveryError
            There is no such answer.
        """
        body = urlencode(arguments).encode() if form else orjson.dumps(dict(arguments))
        content_type = _FORM if form else _JSON
        answer = self._transport.post(f"{self._url}/{method}", body, content_type, token=self._token)
        found = answer.json()
        if found.get("ok") is True and answer.status == 200:
            return found
        code = found.get("error")
        if answer.status == 429 or code in {"ratelimited", "rate_limited"}:
            raise limited(answer)
        if isinstance(code, str) and _CODE.fullmatch(code):
            raise SlackError(code, self._transport.clean(_detail(found)))
        raise refused(answer, self._transport)


def limited(answer: Answer) -> TemporaryDeliveryError:
    wait = answer.retry_after_seconds
    return TemporaryDeliveryError(
        f"Slack asks to come again in {wait:g} s", retry_after_seconds=wait, whole_channel=True
    )


def refused(answer: Answer, transport: Transport) -> TemporaryDeliveryError | PermanentDeliveryError:
    """An answer that is not one of Slack's."""
    text = transport.clean(answer.text)
    sentence = f"expected an answer of Slack, got status {answer.status}" + (f": {text}" if text else "")
    if 400 <= answer.status < 500:
        return PermanentDeliveryError(sentence, whole_channel=True)
    certain = 300 <= answer.status < 400
    return TemporaryDeliveryError(sentence, uncertain=not certain, whole_channel=certain)


def _detail(found: Mapping[str, Any]) -> str:
    """What Slack says beyond the code: which scope it needs, which part of the blocks is wrong."""
    if isinstance(found.get("needed"), str):
        return f"needed: {found['needed']}"
    metadata = found.get("response_metadata")
    messages = metadata.get("messages") if isinstance(metadata, dict) else None
    return "; ".join(str(message) for message in messages[:3]) if isinstance(messages, list) else ""
