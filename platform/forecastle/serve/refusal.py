"""What the service says when it gives no prediction: one exception, one documented JSON shape.

Belongs here: the refusal, its HTTP status and code, the body every 4xx and 5xx answer has.
Does not belong here: deciding to refuse (`parse.py`, `resolve.py`, `predict.py`), success (`receipt.py`).
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Final

import msgspec

from forecastle.contract.errors import ForecastleError
from forecastle.contract.request import Violation

STATUS_OF_CODE: Final = {
    "not_http": 400,
    "not_json": 400,
    "unauthorized": 401,
    "foreign_origin": 403,
    "not_found": 404,
    "unknown_prediction": 404,
    "method_not_allowed": 405,
    "request_id_reused": 409,
    "after_cutoff": 409,
    "too_large": 413,
    "unsupported_media_type": 415,
    "unknown_host": 421,
    "contract": 422,
    "no_model": 422,
    "too_busy": 429,
    "head_too_large": 431,
    "internal": 500,
    "no_champion": 503,
    "online_store_unavailable": 503,
    "log_unavailable": 503,
    "bundle_unavailable": 503,
    "deadline": 504,
}


class Refusal(ForecastleError):  # noqa: N818  it is an answer, not a fault
    """An answer without a prediction; `details` names each feature, value and rule, all at once."""

    def __init__(self, code: str, message: str, *, details: Sequence[Violation] = ()) -> None:
        super().__init__(message)
        self.code = code
        self.status = STATUS_OF_CODE[code]
        self.details = tuple(details)
        self.request_id: str | None = None

    def body(self) -> bytes:
        """The JSON body of the answer."""
        return msgspec.json.encode({"error": self.error()})

    def error(self) -> dict[str, Any]:
        """What is in the body, as plain data: also said of one row of many."""
        return {
            "code": self.code,
            "message": str(self),
            "details": [_detail(violation) for violation in self.details],
            "request_id": self.request_id,
        }


def broken_contract(details: Sequence[Violation], *, code: str = "contract") -> Refusal:
    """The refusal for values that break their contract."""
    names = list(dict.fromkeys(violation.feature for violation in details))
    shown = ", ".join(names[:8]) + (", …" if len(names) > 8 else "")
    return Refusal(code, f"{len(details)} value(s) cannot be used: {shown}", details=details)


def _detail(violation: Violation) -> dict[str, Any]:
    return {
        "feature": violation.feature,
        "value": violation.value,
        "rule": violation.rule,
        "message": violation.text,
        "row": violation.row,
    }
