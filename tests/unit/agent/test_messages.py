"""The worked examples of SPEC.md are what the code reads and writes, byte for byte."""

from __future__ import annotations

import re
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from hardtack_agent import messages, telemetry, topics
from hardtack_agent.telemetry import Window
from hardtack_runtime.errors import DeviceError

SPEC = (Path(__file__).parents[3] / "SPEC.md").read_text(encoding="utf-8")
VECTORS = dict(re.findall(r"<!-- vector: (\w+) -->\n```\w+\n(.*?)\n```", SPEC, re.DOTALL))
JSON_KINDS = ("Birth", "Online", "JobList", "Request", "JobEvent", "Ack")
DATA = bytes(range(256)) * 3


@pytest.mark.parametrize("name", JSON_KINDS)
def test_a_control_message_reads_and_writes_as_specified(name: str) -> None:
    kind = getattr(messages, name)
    message = messages.decode(kind, VECTORS[name].encode(), name)
    assert message.encode().decode() == VECTORS[name]


def test_an_offer_describes_its_bundle_as_specified() -> None:
    jobs = messages.decode(messages.JobList, VECTORS["JobList"].encode(), "")
    offer = messages.make_offer("0123456789abcdef", "digits", (1, 2, 0), DATA, block_size=512)
    assert jobs.offers == (offer,)


def test_a_block_frame_is_as_specified() -> None:
    frame = bytes.fromhex(VECTORS["Block"])
    block = messages.decode_block(frame)
    assert (block.index, block.data) == (1, DATA[512:520])
    assert messages.encode_block(block) == frame


def test_a_telemetry_batch_is_as_specified() -> None:
    window = Window(
        "digits", (1, 2, 0), bytes(range(16)), 1767225600, 1767225660, 3, 1, 2, 1, 120,
        {5: 2, 6: 1}, {0: 1, 3: 2},
    )  # fmt: skip
    boot_id = bytes.fromhex("00112233445566778899aabbccddeeff")
    batch = bytes.fromhex(VECTORS["Telemetry"])
    assert telemetry.encode_batch(boot_id, [(7, window)]) == batch
    assert telemetry.decode_batch(batch) == (boot_id, [(7, window)])


@pytest.mark.parametrize(
    "payload",
    [
        pytest.param(b"", id="empty"),
        pytest.param(b"[]", id="no map"),
        pytest.param(b'{"v":2,"rev":1}', id="other version"),
        pytest.param(b'{"v":1,"rev":-1}', id="negative revision"),
        pytest.param(VECTORS["JobList"].encode().replace(b"768", b"9999"), id="hashes missing"),
        pytest.param(VECTORS["JobList"].encode().replace(b"digits", b"../etc"), id="path as name"),
        pytest.param(b"\xff\xfe", id="no text"),
    ],
)
def test_a_wrong_job_list_is_refused(payload: bytes) -> None:
    with pytest.raises(DeviceError) as caught:
        messages.decode(messages.JobList, payload, "dn/job")
    assert caught.value.code == "HT613"


def test_an_ack_that_no_database_can_hold_is_refused() -> None:
    payload = VECTORS["Ack"].encode().replace(b"[1,2]", b"[9223372036854775808]")
    with pytest.raises(DeviceError) as caught:
        messages.decode(messages.Ack, payload, "dn/ack")
    assert caught.value.code == "HT613"


@given(st.binary(max_size=60))
def test_any_bytes_are_a_block_or_refused(junk: bytes) -> None:
    try:
        block = messages.decode_block(junk)
    except DeviceError as error:
        assert error.code == "HT613"
    else:
        assert messages.encode_block(block) == junk


@pytest.mark.parametrize("kind", topics.UP)
def test_a_topic_is_parsed_back(kind: str) -> None:
    assert topics.parse(topics.up("acme", "pi-1", kind)) == ("acme", "pi-1", kind)


@pytest.mark.parametrize(
    "topic",
    [
        "", "ht/v1/acme/d/pi-1/up", "ht/v2/acme/d/pi-1/up/tm", "ht/v1/acme/d/pi-1/up/job",
        "ht/v1/acme/d/+/up/tm", "ht/v1/acme/d/pi-1/up/tm/x", "ht/v1//d/pi-1/up/tm",
    ],
)  # fmt: skip
def test_a_foreign_topic_is_none_of_ours(topic: str) -> None:
    assert topics.parse(topic) is None


@pytest.mark.parametrize("name", ["", "a/b", "#", "+", "A", "-a", "a" * 65, "ä"])
def test_a_name_that_breaks_topics_is_refused(name: str) -> None:
    with pytest.raises(ValueError, match="cannot be part of a topic"):
        topics.up("acme", name, "tm")
