"""The request's JSON: nothing hidden, nothing converted, every fault at once."""

from __future__ import annotations

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from forecastle.serve.parse import _plain, parse_request
from forecastle.serve.refusal import Refusal

KEYS = {"market_id": "int64", "venue": "string"}


def faults(text: str) -> list[tuple[str, str]]:
    return [(fault.feature, fault.rule) for fault in parse_request(text.encode(), keys=KEYS)[1]]


def test_a_whole_request_is_read():
    """Entity, features and request id come out as they were given."""
    body = b'{"entity": {"market_id": 7, "venue": "x"}, "features": {"price": 0.5}, "request_id": "a-1"}'
    request, violations = parse_request(body, keys=KEYS)
    assert violations == []
    assert (request.entity, request.features, request.request_id) == (
        {"market_id": 7, "venue": "x"}, {"price": 0.5}, "a-1",
    )  # fmt: skip


@pytest.mark.parametrize(
    "body",
    [b"", b"{", b'{"entity": ', b"\xff\xfe", b"[" * 100_000, b"9" * 5_000, b"[]", b"null", b'"x"', b"3",
     b"true", b"\xef\xbb\xbf{}", b"{'entity': 1}", b'{"a":1} x',
     b'{"request_id": "\\ud800"}', b'{"entity": {"\\uDFFF": 1}}'],
)  # fmt: skip
def test_what_is_no_json_object_is_refused(body):
    """Empty, cut, foreign bytes, too deep, too long a number, another JSON kind, half a character: 400 not_json."""
    with pytest.raises(Refusal) as caught:
        parse_request(body, keys=KEYS)
    assert (caught.value.code, caught.value.status) == ("not_json", 400)


@pytest.mark.parametrize(
    ("body", "told"),
    [(b"", "Expecting value at character 0"), (b'{"request_id": "a\nb"}', "Invalid control character at character 17")],
)
def test_the_place_of_a_fault_is_told_once(body, told):
    """Two of the decoder's own messages end in `at` already."""
    with pytest.raises(Refusal, match=f": {told}$"):
        parse_request(body, keys=KEYS)


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("{}", [("entity", "missing")]),
        ('{"entity": {"market_id": 7, "venue": "x"}, "colour": 1}', [("colour", "unknown")]),
        ('{"entity": {"market_id": 7}}', [("venue", "missing")]),
        ('{"entity": {"market_id": "7", "venue": 3}}', [("market_id", "dtype"), ("venue", "dtype")]),
        ('{"entity": {"market_id": true, "venue": "x"}}', [("market_id", "dtype")]),
        ('{"entity": {"market_id": 7.0, "venue": "x"}}', [("market_id", "dtype")]),
        ('{"entity": {"market_id": 9223372036854775808, "venue": "x"}}', [("market_id", "dtype")]),
        ('{"entity": {"market_id": null, "venue": "x"}}', [("market_id", "nullable")]),
        ('{"entity": {"market_id": 7, "venue": "x", "id": 1}}', [("id", "unknown")]),
        ('{"entity": {"market_id": 7, "market_id": 8, "venue": "x"}}', [("market_id", "duplicate")]),
        ('{"features": {"a": 1, "a": 1}}', [("a", "duplicate")]),
        ('{"features": {"a": 1}, "features": {"a": 1}}', [("features", "duplicate")]),
        ('{"entity": [7]}', [("entity", "dtype")]),
        ('{"entity": null}', [("entity", "dtype")]),
        ('{"features": "a"}', [("features", "dtype")]),
        ('{"features": {"a": 1}, "request_id": 5}', [("request_id", "dtype")]),
        ('{"features": {"a": 1}, "request_id": "a b"}', [("request_id", "allowed")]),
        ('{"features": {"a": 1}, "request_id": ""}', [("request_id", "allowed")]),
        ('{"x": 1, "entity": {"y": 2}, "features": 3}',
         [("x", "unknown"), ("y", "unknown"), ("market_id", "missing"), ("venue", "missing"),
          ("features", "dtype")]),
    ],
)  # fmt: skip
def test_every_fault_is_named_with_its_rule(text, expected):
    """Each fault carries the key and the rule it breaks, all of them together."""
    assert faults(text) == expected


def test_long_values_are_not_echoed_whole():
    """A megabyte in a wrong place comes back as at most eighty characters."""
    text = json.dumps({"k" * 10_000: 1, "features": {"a": 1}, "request_id": "z" * 10_000})
    assert all(len(str(part)) <= 200 for fault in parse_request(text.encode(), keys=KEYS)[1]
               for part in (fault.feature, fault.value, fault.text))  # fmt: skip


values = st.dictionaries(st.text(max_size=5), st.integers() | st.floats(allow_nan=False, allow_infinity=False))


@given(features=values, other=values)
def test_the_digest_ignores_order_and_sees_values(features, other):
    """Key order does not change a request's digest; a different value does."""
    first, turned = _request(features), _request(dict(reversed(features.items())))
    assert first.sha256() == turned.sha256()
    assert (_request(other).sha256() == first.sha256()) == (
        json.dumps(other, sort_keys=True) == json.dumps(features, sort_keys=True)
    )


def _request(features):
    return parse_request(json.dumps({"features": features}).encode(), keys=KEYS)[0]


VALUES = st.recursive(
    st.one_of(st.none(), st.booleans(), st.integers(-(2**70), 2**70), st.floats(), st.text(max_size=5)),
    lambda inner: st.one_of(
        st.lists(inner, max_size=3), st.dictionaries(st.sampled_from(["a", "b:c", "entity"]), inner, max_size=3)
    ),
    max_leaves=8,
)


@given(st.lists(st.tuples(st.sampled_from(["entity", "features", "x:y"]), VALUES), max_size=4), st.booleans())
def test_the_quick_decoder_reads_as_the_careful_one(pairs, is_spaced):
    """Where no name was given twice both decoders give the same; where one was, the quick one gives nothing."""
    separators = (" , ", " : ") if is_spaced else (",", ":")
    items = (json.dumps(name) + separators[1] + json.dumps(value, separators=separators) for name, value in pairs)
    body = ("{" + separators[0].join(items) + "}").encode()
    quick = _plain(body)
    if len({name for name, _ in pairs}) < len(pairs):
        assert quick is None
    if quick is not None:
        careful = json.loads(body)
        assert repr(quick) == repr(careful)
