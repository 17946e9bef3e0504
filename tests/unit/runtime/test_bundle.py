"""The bundle: what is written is read back, and nothing else is accepted."""

from __future__ import annotations

import random
import struct
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from hardtack_runtime.bundle import (
    PAYLOAD_OFFSET,
    TAGS,
    pack,
    read_contract,
    read_header,
    unpack,
    verify,
)
from hardtack_runtime.errors import BundleError, GateError, HardtackError, TrustError
from hardtack_runtime.golden import replay
from hardtack_runtime.interpreter import Interpreter
from hardtack_runtime.program import Concat, FullyConnected, Op, Port, Program, Tensor
from hardtack_runtime.records import decode_program, encode_program
from hardtack_runtime.signing import Keyring, SigningKey, VerifyKey
from tests.golden.make import KEY, every_op_program, golden_bundle, manifest_for

KEYS = Keyring([KEY.verify_key])


@pytest.fixture(scope="module")
def bundle() -> bytes:
    return golden_bundle()


def test_a_bundle_reads_back_as_it_was_written(bundle: bytes) -> None:
    program = every_op_program()
    header = verify(bundle, KEYS, "linux")
    content = unpack(bundle)
    assert header.release == "golden@1.2.3"
    assert encode_program(content.program) == encode_program(program)
    assert content.manifest.layers == program.layers
    for read, written in zip(content.program.tensors, program.tensors, strict=True):
        assert read.dims == written.dims
        assert read.is_constant == written.is_constant
        if written.data is not None:
            assert read.data is not None
            assert np.array_equal(read.data, written.data)


def test_packing_again_gives_the_same_bytes(bundle: bytes) -> None:
    content = unpack(bundle)
    again = pack(content.program, content.manifest, key=KEY, hardware="any", golden=content.golden)
    assert again == bundle


def test_every_flipped_bit_is_refused(bundle: bytes) -> None:
    for index in range(len(bundle)):
        damaged = bytearray(bundle)
        damaged[index] ^= 1 << index % 8
        with pytest.raises((BundleError, TrustError, GateError)):
            verify(bytes(damaged), KEYS, "linux")


def test_every_truncation_is_refused(bundle: bytes) -> None:
    for size in range(0, len(bundle), 3):
        with pytest.raises(BundleError) as caught:
            verify(bundle[:size], KEYS)
        assert caught.value.code == "HT211"


def test_appended_bytes_are_refused(bundle: bytes) -> None:
    with pytest.raises(BundleError, match="bytes"):
        verify(bundle + bytes(8), KEYS)


@settings(max_examples=300, deadline=None)
@given(st.data())
def test_a_hostile_payload_gives_an_error_and_never_another_exception(data: st.DataObject) -> None:
    """As if the attacker could sign: the structure must stand alone."""
    raw = bytearray(golden_bundle())
    for _ in range(data.draw(st.integers(1, 4))):
        raw[data.draw(st.integers(PAYLOAD_OFFSET, len(raw) - 1))] = data.draw(st.integers(0, 255))
    try:
        unpack(bytes(raw))
    except HardtackError as error:
        assert error.code in ("HT211", "HT212", "HT502")


@pytest.mark.parametrize(
    ("change", "code"),
    [
        pytest.param((0, b"ELF"), "HT211", id="another kind of file"),
        pytest.param((4, b"\x02"), "HT502", id="format 2"),
        pytest.param((6, b"\x09"), "HT502", id="kernel abi 9"),
        pytest.param((92, b"\x01"), "HT212", id="reserved field"),
        pytest.param((48, b"\xff"), "HT212", id="name not ascii"),
        pytest.param((80, b"\x07"), "HT701", id="version changed"),
        pytest.param((136, b"\0\0"), "HT701", id="another key id"),
        pytest.param((200, b"\0\0\0"), "HT701", id="signature changed"),
        pytest.param((-9, b"\x55"), "HT702", id="payload changed"),
    ],
)
def test_each_fault_has_its_code(bundle: bytes, change: tuple[int, bytes], code: str) -> None:
    at, new = change
    damaged = bytearray(bundle)
    damaged[at : len(bundle) + at + len(new) if at < 0 else at + len(new)] = new
    with pytest.raises(HardtackError) as caught:
        verify(bytes(damaged), KEYS)
    assert caught.value.code == code


def test_an_empty_file_is_no_bundle() -> None:
    with pytest.raises(BundleError, match="empty"):
        read_header(b"")


def test_another_key_is_not_trusted(bundle: bytes) -> None:
    with pytest.raises(TrustError) as caught:
        verify(bundle, Keyring([SigningKey.generate().verify_key]))
    assert caught.value.code == "HT701"
    assert caught.value.exit_status == 6


def test_an_unsigned_bundle_is_not_trusted() -> None:
    program = every_op_program()
    with pytest.raises(TrustError):
        verify(pack(program, manifest_for(program), key=None), KEYS)


def test_other_hardware_is_refused() -> None:
    program = every_op_program()
    data = pack(program, manifest_for(program), key=KEY, hardware="cortex-m4")
    with pytest.raises(GateError) as caught:
        verify(data, KEYS, "linux")
    assert caught.value.code == "HT501"
    assert verify(data, KEYS, "cortex-m4").hardware == "cortex-m4"


def test_the_model_id_names_the_computation_not_its_storage() -> None:
    program = every_op_program()
    renamed = manifest_for(program).model_copy(update={"name": "other", "version": "9.9.9"})
    one = read_header(pack(program, manifest_for(program), key=KEY))
    two = read_header(pack(program, renamed, key=None, hardware="linux"))
    assert one.model_id == two.model_id


def test_keys_survive_their_files(tmp_path: Path) -> None:
    path = tmp_path / "release.key"
    KEY.save(path)
    assert path.stat().st_mode & 0o777 == 0o600
    assert SigningKey.load(path).verify_key.key_id == KEY.verify_key.key_id
    assert VerifyKey.load(path.with_suffix(".pub")).key_id == KEY.verify_key.key_id
    assert len(Keyring.load(tmp_path)) == 1


@pytest.mark.parametrize("content", [b"", b"no key", b"-----BEGIN PRIVATE KEY-----\nAAAA\n"])
def test_a_bad_key_file_is_refused(tmp_path: Path, content: bytes) -> None:
    path = tmp_path / "bad.key"
    path.write_bytes(content)
    with pytest.raises(TrustError) as caught:
        SigningKey.load(path)
    assert caught.value.code == "HT704"


def test_a_key_is_never_overwritten(tmp_path: Path) -> None:
    KEY.save(tmp_path / "a.key")
    with pytest.raises(TrustError, match="already there"):
        SigningKey.generate().save(tmp_path / "a.key")


def test_a_contract_is_read_without_the_program(bundle: bytes) -> None:
    whole, contract = unpack(bundle), read_contract(bundle)
    assert (contract.header, contract.manifest) == (whole.header, whole.manifest)
    assert contract.golden == whole.golden


def _sections(bundle: bytes) -> dict[str, int]:
    """Return where each section begins."""
    at, places = PAYLOAD_OFFSET + 24, {}
    for tag, size in zip(TAGS, struct.unpack_from("<6I", bundle, PAYLOAD_OFFSET), strict=True):
        places[tag] = at
        at += -(-size // 4) * 4
    return places


def _said(read: object, data: bytes) -> str:
    try:
        read(data)  # type: ignore[operator]
    except HardtackError as error:
        return str(error)
    return ""


def test_the_two_readers_refuse_the_same_files(bundle: bytes) -> None:
    """Python knows no operator's own rules and C no manifest; all else they must agree on."""
    places, rng = _sections(bundle), random.Random(5)
    for _ in range(400):
        damaged = bytearray(bundle)
        at = rng.randrange(places["PROG"], places["GOLD"])
        damaged[at] = rng.choice((0, 1, 128, 255, rng.randrange(256)))
        python, c = _said(unpack, bytes(damaged)), _said(Interpreter, bytes(damaged))
        if not python.startswith("META") and "PROG operator" not in c:
            assert bool(python) == bool(c), f"byte {at}: {python!r} in Python, {c!r} in C"


def _empty(dims: tuple[int, int, int, int] = (1, 1, 1, 5)) -> Program:
    """Return a program without operators: its input is its output."""
    return Program((Tensor("x", dims),), (), (Port(0, 1.0, 0),), (Port(0, 1.0, 0),), 16)


@pytest.mark.parametrize(
    ("tag", "offset", "form", "value", "met"),
    [
        pytest.param("PROG", 2, "B", 9, "9 inputs", id="nine inputs"),
        pytest.param("PROG", 4, "H", 1, "PROG port 0", id="no such tensor"),
        pytest.param("PROG", 6, "h", 128, "PROG port 0", id="a zero point of 128"),
        pytest.param("PROG", 8, "f", 0, "PROG port 0", id="a scale of 0"),
        pytest.param("TENS", 0, "H", 2, "for 2 tensors", id="a tensor too many"),
        pytest.param("TENS", 2, "B", 16, "layout 16", id="a layout that is none"),
        pytest.param("TENS", 2, "B", 1, "for 1 tensors", id="a layout of longer rows"),
        pytest.param("TENS", 3, "B", 1, "reserved 1", id="a reserved byte"),
        pytest.param("TENS", 9, "H", 16, "outside the arena", id="a tensor behind the arena"),
        pytest.param("HUFF", 0, "I", 257, "257 tables", id="too many code tables"),
        pytest.param("GOLD", 0, "I", 65, "65 vectors", id="too many golden vectors"),
    ],
)
def test_a_field_out_of_its_range_is_refused(
    tag: str, offset: int, form: str, value: int, met: str
) -> None:
    program = _empty()
    damaged = bytearray(pack(program, manifest_for(program), key=None))
    struct.pack_into(f"<{form}", damaged, _sections(bytes(damaged))[tag] + offset, value)
    with pytest.raises(BundleError, match=met) as caught:
        unpack(bytes(damaged))
    assert caught.value.code == "HT212"
    assert tag == "GOLD" or _said(Interpreter, bytes(damaged))


def test_fields_take_the_width_that_the_widest_of_a_record_needs() -> None:
    program = every_op_program()
    widths = {len(encode_program(replace(program, ops=(op,)))) - 20 for op in _widths()}
    assert widths == {4 + 3, 4 + 6, 4 + 12}
    for op in _widths():
        section = encode_program(replace(program, ops=(op,), layers=()))
        assert decode_program(section, program.tensors, program.arena_size).ops == (op,)


def _dense(bias: np.ndarray, weights: np.ndarray) -> Program:
    """Return a dense layer of a bias and weights [outputs, inputs]."""
    outputs, inputs = weights.shape
    mult = np.full((1, 1, 1, 1), 1 << 30, np.int32)
    tensors = (
        Tensor("x", (1, 1, 1, inputs)),
        Tensor("y", (1, 1, 1, outputs), None, 64),
        Tensor("w", (1, 1, outputs, inputs), weights[None, None]),
        Tensor("b", (1, 1, 1, outputs), bias.astype(np.int32)[None, None, None]),
        Tensor("m", (1, 1, 1, 1), mult),
        Tensor("s", (1, 1, 1, 1), np.full((1, 1, 1, 1), -6, np.int8)),
    )
    op = FullyConnected(0, 2, 3, 4, 5, 1, 0, -128, 127)
    return Program(tensors, (op,), (Port(0, 1.0, 0),), (Port(1, 1.0, 0),), 128)


@pytest.mark.parametrize(("peak", "size"), [(0, 1), (100, 1 + 24), (20000, 1 + 48)])
def test_a_bias_is_stored_without_what_its_weights_say(peak: int, size: int) -> None:
    rng = np.random.default_rng(3)
    weights = rng.integers(-90, 90, (24, 40)).astype(np.int8)
    own = rng.integers(-peak, peak + 1, 24) if peak else 0
    program = _dense(own + 117 * weights.sum(axis=1, dtype=np.int32), weights)
    data = pack(program, manifest_for(program), key=None)
    content = unpack(data)
    assert [content.stored[1].coding.label, content.stored[1].size] == ["folded", size]
    for read, written in zip(content.program.tensors, program.tensors, strict=True):
        if written.data is not None and read.data is not None:
            assert np.array_equal(read.data, written.data)
    raw = pack(program, manifest_for(program), key=None, unpack_limit=0)
    assert {one.coding.label for one in unpack(raw).stored} == {"raw"}
    x = rng.integers(-128, 128, (1, 1, 1, 40)).astype(np.int8)
    assert np.array_equal(Interpreter(data).run(x)[0], Interpreter(raw).run(x)[0])


def test_only_a_bias_behind_its_own_weights_is_folded(monkeypatch: pytest.MonkeyPatch) -> None:
    """Others' weights may not be in memory when it is unpacked, so no reader runs such a bundle."""
    weights = np.arange(-60, 60, dtype=np.int8).reshape(12, 10)
    program = _dense(5 * weights.sum(axis=1, dtype=np.int32), weights)
    other = Tensor("other", (1, 1, 12, 10), weights[None, None])
    tensors = (*program.tensors, other)
    (op,) = program.ops
    assert isinstance(op, FullyConnected)
    far = replace(program, tensors=tensors, ops=(replace(op, weights=len(tensors) - 1),))
    stored = unpack(pack(far, manifest_for(far), key=None)).stored
    assert "folded" not in {one.coding.label for one in stored}
    monkeypatch.setattr("hardtack_runtime.bundle.biases_behind_weights", lambda *_: {1})
    folded = pack(far, manifest_for(far), key=None)
    assert _said(Interpreter, folded)
    monkeypatch.undo()
    assert "not the bias of the weights before it" in _said(unpack, folded)


@pytest.mark.parametrize("damage", ["no weights", "half a width", "no factor"])
def test_a_folded_bias_that_does_not_fit_is_refused(damage: str) -> None:
    weights = np.arange(-60, 60, dtype=np.int8).reshape(12, 10)
    program = _dense(5 * weights.sum(axis=1, dtype=np.int32), weights)
    data = bytearray(pack(program, manifest_for(program), key=None))
    section = _sections(bytes(data))
    row = section["TENS"] + 4 + 7 * 3
    (offset,) = struct.unpack_from("<H", data, row + 5)
    at = section["DATA"] + offset
    if damage == "no weights":
        data[row - 7] = 1  # its weights are in the arena, all of a sudden
        struct.pack_into("<H", data, row - 2, 0)
    else:
        struct.pack_into("<H", data, at, 2 if damage == "half a width" else 0)
    assert "narrow" in _said(unpack, bytes(data)) or "folded" in _said(unpack, bytes(data))
    assert _said(Interpreter, bytes(data))


def _widths() -> tuple[Op, ...]:
    """Return operators of three fields whose largest needs 1, 2 and 4 bytes."""
    return Concat(0, 127, (1,)), Concat(0, -129, (1,)), Concat(0, 32768, (1,))


def test_a_field_of_three_bytes_is_refused() -> None:
    section = bytearray(encode_program(every_op_program()))
    section[21] = 3
    with pytest.raises(BundleError, match="fields of 3 bytes"):
        decode_program(bytes(section), every_op_program().tensors, 1 << 20)


@pytest.mark.parametrize(
    ("dims", "offset", "row"),
    [
        ((1, 1, 1, 255), 65520, 7),
        ((1, 1, 1, 256), 0, 8),
        ((1, 1, 1, 5), 65536, 9),
        ((1, 256, 1, 1), 0, 10),
        ((1, 1, 256, 256), 0, 11),
    ],
)
def test_rows_of_tensors_are_as_short_as_they_can_be(
    dims: tuple[int, int, int, int], offset: int, row: int
) -> None:
    tensor = Tensor("x", dims, None, offset)
    program = Program((tensor,), (), (Port(0, 1.0, 0),), (Port(0, 1.0, 0),), offset + 65536)
    data = pack(program, manifest_for(program), key=None)
    assert unpack(data).sections["TENS"] == 4 + row
    assert unpack(data).program.tensors[0].dims == dims
    assert Interpreter(data).input_shapes == (dims,)


def test_a_short_file_cannot_ask_for_all_memory(bundle: bytes) -> None:
    """Sizes are compared with the signed header before anything is unpacked."""
    damaged = bytearray(bundle)
    for row in range(len(every_op_program().tensors)):
        at = _sections(bundle)["TENS"] + 4 + 10 * row
        if damaged[at] >> 4 > 1:
            struct.pack_into("<3BH", damaged, at + 3, 1, 16, 255, 65535)
    with pytest.raises(BundleError, match="unpacks to"):
        unpack(bytes(damaged))


def test_a_manifest_of_another_program_is_refused() -> None:
    data = pack(_empty(), manifest_for(_empty((1, 1, 1, 6))), key=None)
    with pytest.raises(BundleError, match="META"):
        unpack(data)


def test_golden_vectors_of_another_program_are_refused(bundle: bytes) -> None:
    content = unpack(bundle)
    shorter = replace(content.golden[0], crcs=content.golden[0].crcs[:-1])
    with pytest.raises(BundleError, match="golden vector 0"):
        replay(Interpreter(bundle), (shorter,))


@pytest.mark.parametrize("hardware", ["a-class-of-16-ch", "Linux", "-", ""])
def test_a_hardware_class_that_does_not_fit_is_the_callers_fault(hardware: str) -> None:
    with pytest.raises(ValueError, match="dash"):
        pack(_empty(), manifest_for(_empty()), key=None, hardware=hardware)


def test_a_name_that_fills_its_field_is_refused(bundle: bytes) -> None:
    with pytest.raises(BundleError, match="names"):
        read_header(bundle[:48] + b"a" * 32 + bundle[80:])
