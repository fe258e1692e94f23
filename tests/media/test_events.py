"""Decoding player events: every schema, every refusal, and that nothing gets through unchecked."""

from __future__ import annotations

import datetime as dt
import json
from typing import Any, get_args
from uuid import UUID

import hypothesis.strategies as st
import pytest
from hypothesis import given

from pipelines.media import events, schema
from pipelines.media.events import MediaInvalid, MediaSessionMismatch, MediaUndecodable

SESSION = UUID("550e8400-e29b-41d4-a716-446655440000")
OTHER = UUID("550e8400-e29b-41d4-a716-446655440001")

SESSION_START: dict[str, Any] = {
    "event": "session_start",
    "session_id": str(SESSION),
    "media_id": "hashed-exercise-id",
    "media_type": "video",
    "timestamp": "2026-02-16T09:03:00Z",
    "data": {
        "total_duration_seconds": 42.0,
        "ttfb_ms": 340,
        "video_load_time_ms": 1200,
        "cdn_response_time_ms": 280,
        "connection_type": "wifi",
        "effective_bandwidth": 12.5,
        "rtt_ms": 45,
    },
}
HEARTBEAT: dict[str, Any] = {
    "event": "heartbeat",
    "session_id": str(SESSION),
    "timestamp": "2026-02-16T09:03:30Z",
    "data": {
        "position_seconds": 29.5,
        "watched_duration_seconds": 29.5,
        "completion_percent": 70.2,
        "buffering_count": 0,
        "buffering_duration_ms": 0,
        "current_bitrate": 2500000,
        "current_resolution": "720p",
        "dropped_frames": 2,
        "total_frames": 750,
    },
}


def event(name: str, data: dict[str, Any] | None = None, **fields: object) -> dict[str, Any]:
    body = {"event": name, "session_id": str(SESSION), "timestamp": "2026-02-16T09:03:30Z", **fields}
    return body if data is None else {**body, "data": data}


ONE_OF_EACH = [
    SESSION_START,
    HEARTBEAT,
    event("buffering_start", {"position_seconds": 3.5}),
    event("buffering_end", {"position_seconds": 3.5, "duration_ms": 800}),
    event(
        "quality_change",
        {
            "position_seconds": 4,
            "from_bitrate": 1e6,
            "to_bitrate": 2e6,
            "from_resolution": "480p",
            "to_resolution": "720p",
            "reason": "abr",
        },
    ),
    event("milestone", {"percent": 25, "position_seconds": 10.5}),
    event("session_end", {**HEARTBEAT["data"], "completed": True}),
    event("play", {"position_seconds": 0}),
    event("pause", {"position_seconds": 4}),
    event("seek", {"from_seconds": 4, "to_seconds": 2}),
    event("error", {"position_seconds": 4, "code": "MEDIA_ERR_NETWORK", "message": "gone", "fatal": True}),
]


def decode(body: object) -> events.DecodedEvents:
    return events.decode(json.dumps(body).encode(), SESSION)


def test_there_is_an_example_of_every_event() -> None:
    names = {event_type.__struct_config__.tag for event_type in get_args(schema.MediaEvent)}
    assert names == {body["event"] for body in ONE_OF_EACH}


@pytest.mark.parametrize("body", ONE_OF_EACH, ids=lambda body: body["event"])
def test_every_event_is_decoded_whole(body: dict[str, Any]) -> None:
    decoded = decode(body)
    assert decoded.unknown_field_count == 0
    (one,) = decoded.events
    assert one.timestamp == dt.datetime.fromisoformat(body["timestamp"])
    assert json.loads(events.encode(one)) == body


def test_an_array_keeps_its_order() -> None:
    decoded = decode(ONE_OF_EACH)
    assert [json.loads(events.encode(one))["event"] for one in decoded.events] == [b["event"] for b in ONE_OF_EACH]


def test_canonical_json_decodes_to_the_same_event() -> None:
    for one in decode(ONE_OF_EACH).events:
        assert events.decode(events.encode(one), SESSION).events == (one,)


def test_times_of_another_zone_become_utc() -> None:
    (one,) = decode(event("play", timestamp="2026-02-16T11:03:30.5+02:00")).events
    assert one.timestamp == dt.datetime(2026, 2, 16, 9, 3, 30, 500_000, dt.UTC)
    assert b'"2026-02-16T09:03:30.500000Z"' in events.encode(one)


def test_unknown_fields_are_left_out_and_counted() -> None:
    body = event("heartbeat", {"position_seconds": 1, "battery": 3, "x": {"y": 1}}, player="v2")
    decoded = decode([body, HEARTBEAT])
    assert decoded.unknown_field_count == 3
    assert b"battery" not in events.encode(decoded.events[0])


def test_what_a_player_does_not_know_may_be_missing_or_null() -> None:
    (bare,) = decode(event("heartbeat")).events
    (null,) = decode(event("heartbeat", {"position_seconds": None})).events
    assert bare == null
    assert isinstance(bare, schema.Heartbeat)
    assert bare.data.position_seconds is None


@pytest.mark.parametrize(
    ("change", "field"),
    [
        ({"event": "tea_break"}, "$.event"),
        ({"event": 3}, "$.event"),
        ({"session_id": "not-a-uuid"}, "$.session_id"),
        ({"session_id": 7}, "$.session_id"),
        ({"timestamp": "yesterday"}, "$.timestamp"),
        ({"timestamp": "2026-02-16T09:03:30"}, "$.timestamp"),
        ({"timestamp": "2026-02-30T09:03:30Z"}, "$.timestamp"),
        ({"timestamp": "0001-01-01T00:00:00+14:00"}, "$.timestamp"),
        ({"timestamp": "9999-12-31T23:59:59-14:00"}, "$.timestamp"),
        ({"timestamp": 1771232610}, "$.timestamp"),
        ({"media_id": ""}, "$.media_id"),
        ({"media_id": "x" * 129}, "$.media_id"),
        ({"media_id": "nul\0"}, "$.media_id"),
        ({"media_id": "line\n"}, "$.media_id"),
        ({"media_type": 1}, "$.media_type"),
        ({"data": None}, "$.data"),
        ({"data": []}, "$.data"),
        ({"data": {"position_seconds": "29.5"}}, "$.data.position_seconds"),
        ({"data": {"position_seconds": True}}, "$.data.position_seconds"),
        ({"data": {"position_seconds": -0.001}}, "$.data.position_seconds"),
        ({"data": {"position_seconds": 86_401}}, "$.data.position_seconds"),
        ({"data": {"completion_percent": 102}}, "$.data.completion_percent"),
        ({"data": {"dropped_frames": 1.5}}, "$.data.dropped_frames"),
        ({"data": {"dropped_frames": 2**31}}, "$.data.dropped_frames"),
        ({"data": {"total_frames": 10**30}}, "$.data.total_frames"),
        ({"data": {"current_resolution": "7\x7f"}}, "$.data.current_resolution"),
        ({"data": {"current_resolution": "7" * 65}}, "$.data.current_resolution"),
        ({"event": "milestone", "data": {"percent": 30}}, "$.data.percent"),
        ({"event": "milestone", "data": {}}, "$.data.percent"),
        ({"event": "seek", "data": {"from_seconds": 1}}, "$.data.to_seconds"),
        ({"event": "error", "data": {"message": "x" * 513}}, "$.data.message"),
    ],
)
def test_a_broken_rule_names_the_field(change: dict[str, Any], field: str) -> None:
    with pytest.raises(MediaInvalid) as refused:
        decode({**HEARTBEAT, **change})
    assert refused.value.field == field
    with pytest.raises(MediaInvalid) as refused:
        decode([HEARTBEAT, {**HEARTBEAT, **change}])
    assert refused.value.field == field.replace("$", "$[1]")


@pytest.mark.parametrize("name", ["event", "session_id", "timestamp", "media_id", "media_type"])
def test_what_session_start_must_carry(name: str) -> None:
    with pytest.raises(MediaInvalid) as refused:
        decode({key: value for key, value in SESSION_START.items() if key != name})
    assert refused.value.field == f"$.{name}"


@pytest.mark.parametrize("literal", ["1e999", "-1e999", "1" + "0" * 5000])
def test_a_number_no_float_holds_is_refused_by_name(literal: str) -> None:
    body = json.dumps(event("heartbeat", {"position_seconds": 987.5})).replace("987.5", literal)
    with pytest.raises(MediaInvalid) as refused:
        events.decode(body.encode(), SESSION)
    assert refused.value.field == "$.data.position_seconds"


@pytest.mark.parametrize("body", [3, "x", None, True])
def test_json_that_is_no_event(body: object) -> None:
    with pytest.raises(MediaInvalid):
        decode(body)
    with pytest.raises(MediaInvalid) as refused:
        decode([body])
    assert refused.value.field == "$[0]"


@pytest.mark.parametrize("count", [0, 101])
def test_an_array_is_bounded(count: int) -> None:
    with pytest.raises(MediaInvalid) as refused:
        decode([HEARTBEAT] * count)
    assert refused.value.field == "$"
    assert len(decode([HEARTBEAT] * 100).events) == 100


@pytest.mark.parametrize(
    "body",
    [
        b"",
        b" ",
        b"{",
        b"[{]",
        b"\xff\xfe",
        b'{"event": NaN}',
        b"{} {}",
        b"[" * 100_000,
        b'{"event":"\xff"}',
        b'"\\ud800"',
    ],
)
def test_what_is_not_json(body: bytes) -> None:
    with pytest.raises(MediaUndecodable):
        events.decode(body, SESSION)


def test_an_event_of_another_session() -> None:
    with pytest.raises(MediaSessionMismatch) as refused:
        decode({**HEARTBEAT, "session_id": str(OTHER)})
    assert refused.value.field == "$.session_id"
    with pytest.raises(MediaSessionMismatch) as refused:
        decode([{**HEARTBEAT, "data": 3}, {**HEARTBEAT, "session_id": str(OTHER)}])
    assert refused.value.field == "$[1].session_id"


def test_the_session_id_is_compared_as_a_value() -> None:
    assert decode({**HEARTBEAT, "session_id": str(SESSION).upper()}).events == decode(HEARTBEAT).events


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=8),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(max_size=8), inner, max_size=4),
    max_leaves=12,
)


@given(st.binary(max_size=200) | JSON.map(lambda value: json.dumps(value).encode()))
def test_any_bytes_get_one_of_the_known_answers(body: bytes) -> None:
    with pytest.raises((MediaUndecodable, MediaInvalid, MediaSessionMismatch)):
        events.decode(body, SESSION)


@given(st.sampled_from(ONE_OF_EACH), st.data())
def test_any_value_in_any_field_is_decoded_or_refused(body: dict[str, Any], data: st.DataObject) -> None:
    inner = dict(body["data"])
    inner[data.draw(st.sampled_from(sorted(inner)))] = data.draw(JSON)
    raw = json.dumps({**body, "data": inner}).encode()
    try:
        decoded = events.decode(raw, SESSION)
    except (MediaUndecodable, MediaInvalid):
        return
    (one,) = decoded.events
    assert events.decode(events.encode(one), SESSION).events == (one,)
