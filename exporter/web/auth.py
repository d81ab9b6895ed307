"""Who asks, and what they may do.

Basic authentication (bcrypt hashes, exporter-toolkit's format) gives every scope; a bearer token gives the
scopes and the models that its entry names. Tokens are stored as SHA-256 of their text: they are long and
random, so a slow hash would add nothing. All comparisons take constant time.
"""

from __future__ import annotations

import base64
import binascii
import hashlib
import hmac
import secrets
import threading
import time
from collections import OrderedDict
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

import bcrypt

from exporter.web.answers import ForbiddenError, UnauthenticatedError
from exporter.web.operation import Scope

_CACHE_SECONDS = 60.0
_CACHE_ENTRIES = 256
_NOBODY_HASH = b"$2b$10$abcdefghijklmnopqrstuuIrXqvXfAA1hJp7nTGXKVQzjNHZGx/3e"
"""Checked for unknown users, so that they take as long as known ones."""


@dataclass(frozen=True, slots=True)
class Token:
    """One bearer token: SHA-256 of its text in hexadecimal, its scopes, and its models (None: all)."""

    name: str
    sha256: str
    scopes: frozenset[Scope]
    models: frozenset[str] | None = None


@dataclass(frozen=True, slots=True)
class Credentials:
    """Everybody who may come in. Empty: everybody."""

    users: Mapping[str, str]
    tokens: Sequence[Token] = ()

    @property
    def required(self) -> bool:
        return bool(self.users or self.tokens)


@dataclass(frozen=True, slots=True)
class Caller:
    """Who asks: a user, a token, or (name None) anybody."""

    name: str | None
    scopes: frozenset[Scope]
    models: frozenset[str] | None = None

    def sees(self, model: str) -> bool:
        return self.models is None or model in self.models

    def require(self, scope: Scope, model: str | None) -> None:
        """Raises :class:`ForbiddenError` unless the caller has the scope, for this model."""
        if scope not in self.scopes:
            raise ForbiddenError(f"expected a token with the scope {scope.value}, but this one has none")
        if model is not None and not self.sees(model):
            raise ForbiddenError("expected a token for this model, but this one is for others")

    def require_all_models(self) -> None:
        """Raises :class:`ForbiddenError` for a caller who is limited to some models."""
        if self.models is not None:
            raise ForbiddenError("expected a token for all models, but this one is for some")


ANYBODY = Caller(None, frozenset(Scope))


class Authenticator:
    """Tells who asks from the ``Authorization`` header.

    Parameters
    ----------
    credentials : asked at each request, so that they can change under a running server
    clock : monotonic seconds
    """

    def __init__(
        self, credentials: Callable[[], Credentials], *, clock: Callable[[], float] = time.monotonic
    ) -> None:
        self._credentials = credentials
        self._clock = clock
        self._salt = secrets.token_bytes(16)
        self._cache: OrderedDict[bytes, float] = OrderedDict()
        self._cache_lock = threading.Lock()
        self._bcrypt_lock = threading.Lock()

    @property
    def required(self) -> bool:
        """Whether anybody has to say who they are."""
        return self._credentials().required

    def authenticate(self, authorization: str | None) -> Caller:
        """The caller. Raises :class:`UnauthenticatedError` (401)."""
        credentials = self._credentials()
        if not credentials.required:
            return ANYBODY
        if not authorization:
            raise UnauthenticatedError("expected an Authorization header, but none came")
        scheme, _, value = authorization.partition(" ")
        caller = None
        if scheme.lower() == "bearer":
            caller = _bearer(credentials, value.strip())
        elif scheme.lower() == "basic":
            caller = self._basic(credentials, value.strip())
        if caller is None:
            raise UnauthenticatedError("expected a known user or token, but the one that came is not")
        return caller

    def _basic(self, credentials: Credentials, value: str) -> Caller | None:
        try:
            user, colon, password = base64.b64decode(value, validate=True).decode().partition(":")
        except (binascii.Error, UnicodeDecodeError):
            return None
        if not colon:
            return None
        known = credentials.users.get(user)
        matches = self._matches(password.encode(), known.encode() if known else _NOBODY_HASH)
        return Caller(user, frozenset(Scope)) if matches and known else None

    def _matches(self, password: bytes, hashed: bytes) -> bool:
        """bcrypt, one at a time (it is slow on purpose), a success remembered for a minute."""
        entry = hmac.digest(self._salt, hashed + b"\0" + password, "sha256")
        with self._cache_lock:
            if self._cache.get(entry, 0.0) > self._clock():
                return True
        with self._bcrypt_lock:
            try:
                matches = bcrypt.checkpw(password, hashed)
            except ValueError:  # a password beyond bcrypt's 72 bytes
                return False
        if matches:
            with self._cache_lock:
                self._cache[entry] = self._clock() + _CACHE_SECONDS
                while len(self._cache) > _CACHE_ENTRIES:
                    self._cache.popitem(last=False)
        return matches


def _bearer(credentials: Credentials, value: str) -> Caller | None:
    presented = hashlib.sha256(value.encode("utf-8", "surrogateescape")).hexdigest()
    found = None
    for token in credentials.tokens:
        if hmac.compare_digest(token.sha256, presented):
            found = token
    return Caller(found.name, found.scopes, found.models) if found else None
