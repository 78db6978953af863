"""One online row as bytes: times first, so that a server can compare them without knowing the columns.

Belongs here: the layout of a packed row and of the columns it names, packing and unpacking.
Does not belong here: where the bytes are kept (`online_redis.py`). Standard library only: it is served.

    8 bytes event_at_us, 8 bytes known_at_us   big-endian, biased by 2**63: byte order is time order
    4 bytes                                    digest of the columns (name, dtype), in the row's order
    ⌈n / 8⌉ bytes                              one bit a column, set where the value is null
    n values                                   big-endian float64 and int64, one byte a bool, the four-byte length
                                               of a string; zero where null
    the strings                                UTF-8, one after the other
    4 bytes                                    CRC-32 of all that is before
"""

from __future__ import annotations

import hashlib
import json
import struct
import zlib
from collections.abc import Mapping, Sequence
from typing import Any, Final

from forecastle.contract.errors import CorruptionError, StoreError

BIAS: Final = 2**63
DIGEST_BYTES: Final = 4
CHECK_BYTES: Final = 4
HEAD: Final = struct.Struct(">QQ4s")

_FORMAT: Final = {"float64": "d", "int64": "q", "bool": "?", "string": "I"}


class RowColumns:
    """Feature columns of packed rows: the same names and dtypes in the same order have the same digest."""

    def __init__(self, dtypes: Mapping[str, str]) -> None:
        """Prepare the layout.

        Raises:
            StoreError: a feature is neither a number nor a string.
        """
        unknown = [f"{name} is {dtype}" for name, dtype in dtypes.items() if dtype not in _FORMAT]
        if unknown:
            raise StoreError(f"{', '.join(unknown)}; stored features are {', '.join(_FORMAT)}")
        self.names = tuple(dtypes)
        self._strings = tuple(place for place, dtype in enumerate(dtypes.values()) if dtype == "string")
        self.text = json.dumps(list(dtypes.items()), separators=(",", ":")).encode()
        self.digest = hashlib.sha256(self.text).digest()[:DIGEST_BYTES]
        self._mask_bytes = (len(self.names) + 7) // 8
        self._values = struct.Struct(f">{''.join(_FORMAT[dtype] for dtype in dtypes.values())}")
        self._size = HEAD.size + self._mask_bytes + self._values.size + CHECK_BYTES
        self._no_nulls = bytes(self._mask_bytes)

    @classmethod
    def parse(cls, text: bytes) -> RowColumns:
        """The columns that `text` describes.

        Raises:
            CorruptionError: it describes none.
        """
        try:
            return cls(dict(json.loads(text)))
        except (ValueError, TypeError, StoreError) as error:
            raise CorruptionError(f"stored columns cannot be read ({error}); push the view again") from error

    def pack(self, event_at_us: int, known_at_us: int, values: Sequence[Any]) -> bytes:
        """Bytes of one row.

        Raises:
            StoreError: a value is not of its dtype, or a time does not fit in 64 bits.
        """
        nulls = self._no_nulls
        try:
            if None in values:
                mask = sum(1 << i for i, value in enumerate(values) if value is None)
                nulls = mask.to_bytes(self._mask_bytes, "big")
                values = [0 if value is None else value for value in values]
            values, texts = self._with_lengths(values) if self._strings else (values, b"")
            head = HEAD.pack(event_at_us + BIAS, known_at_us + BIAS, self.digest)
            row = head + nulls + self._values.pack(*values) + texts
        except (struct.error, TypeError, AttributeError) as error:
            raise StoreError(f"a row of {', '.join(self.names)} cannot be stored ({error}); mend its values") from error
        return row + zlib.crc32(row).to_bytes(CHECK_BYTES, "big")

    def unpack(self, row: bytes) -> tuple[Any, ...]:
        """Values of a row of these columns, None where null.

        Raises:
            CorruptionError: the bytes are too few or too many, or not those that were packed.
        """
        if len(row) < self._size or (len(row) > self._size and not self._strings):
            raise CorruptionError(f"a stored row has {len(row)} bytes, not {self._size}; push the view again")
        if zlib.crc32(row[:-CHECK_BYTES]) != int.from_bytes(row[-CHECK_BYTES:], "big"):
            raise CorruptionError("a stored row's bytes are not those that were written; push the view again")
        values = self._values.unpack_from(row, HEAD.size + self._mask_bytes)
        if self._strings:
            values = self._with_texts(values, row[self._size - CHECK_BYTES : -CHECK_BYTES])
        nulls = row[HEAD.size : HEAD.size + self._mask_bytes]
        if nulls == self._no_nulls:
            return values
        mask = int.from_bytes(nulls, "big")
        return tuple(None if mask >> i & 1 else value for i, value in enumerate(values))

    def _with_lengths(self, values: Sequence[Any]) -> tuple[Sequence[Any], bytes]:
        """Values with the length of each string in its place, and the strings."""
        texts = {place: (values[place] or "").encode() for place in self._strings}
        found = [len(texts[place]) if place in texts else value for place, value in enumerate(values)]
        return found, b"".join(texts.values())

    def _with_texts(self, values: Sequence[Any], texts: bytes) -> tuple[Any, ...]:
        """Values with each string in the place of its length."""
        found, begin = list(values), 0
        for place in self._strings:
            end = begin + values[place]
            found[place] = texts[begin:end].decode()
            begin = end
        if begin != len(texts):
            raise CorruptionError("a stored row's strings are not of their lengths; push the view again")
        return tuple(found)


def unpack_head(row: bytes) -> tuple[int, int, bytes]:
    """Event time, knowledge time (microseconds since 1970 UTC) and columns' digest of a row.

    Raises:
        CorruptionError: the bytes are no row.
    """
    if len(row) < HEAD.size:
        raise CorruptionError(f"a stored row has {len(row)} bytes; push the view again")
    event, known, digest = HEAD.unpack_from(row)
    return event - BIAS, known - BIAS, digest
