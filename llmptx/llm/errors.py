"""What an endpoint can do wrong: one error with a closed set of kinds, whatever library speaks to it."""

from __future__ import annotations

from typing import Literal

EndpointErrorKind = Literal["refused", "timeout", "status", "rubbish", "cut", "too-large", "empty"]

# Statuses that say nothing will work until a person changes something.
_FATAL = frozenset({401, 402, 403, 404, 405, 407, 410})
_RETRYABLE = frozenset({408, 409, 425, 429})


class EndpointError(Exception):
    """A call that gave no usable reply.

    kind         refused     no connection
                 timeout     no byte for the read limit, or no end within the total limit
                 status      an HTTP error status, see `status`
                 rubbish     an answer that is not this protocol's
                 cut         a stream that stopped before its end
                 too-large   a reply over the size limit
                 empty       a reply without a word in it
    retry_after  seconds the endpoint asked to wait, where it did
    """

    def __init__(
        self,
        kind: EndpointErrorKind,
        message: str,
        *,
        status: int | None = None,
        retry_after: float | None = None,
    ) -> None:
        super().__init__(message)
        self.kind = kind
        self.status = status
        self.retry_after = retry_after

    @property
    def fatal(self) -> bool:
        """Nothing sent to this endpoint will be answered: stop asking."""
        return self.kind == "refused" or (self.status is not None and self.status in _FATAL)

    @property
    def retryable(self) -> bool:
        """The same request may well be answered later."""
        if self.status is not None:
            return self.status in _RETRYABLE or self.status >= 500
        return self.kind in ("timeout", "rubbish", "cut", "empty")

    @property
    def maybe_billed(self) -> bool:
        """The model may have worked on it, so its price must be counted as spent."""
        return self.kind not in ("refused", "status")
