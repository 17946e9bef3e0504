"""libhardtack, the C runtime, through ctypes (declared as in `csrc/include/hardtack`)."""

from __future__ import annotations

import ctypes
import functools
from typing import TYPE_CHECKING

import hardtack_runtime
from hardtack_runtime.errors import BundleError, ConfigError, GateError, HardtackError

if TYPE_CHECKING:
    from pathlib import Path

_NAME = "libhardtack.so"
_POINTER = ctypes.c_void_p
_U32 = ctypes.c_uint32
_SIZE = ctypes.c_size_t


class Port(ctypes.Structure):
    """`ht_port`: a tensor in the arena; real = scale * (code - zero)."""

    _fields_ = (
        ("codes", _POINTER),
        ("elements", ctypes.c_int32),
        ("code_size", ctypes.c_int32),
        ("dims", ctypes.c_int32 * 4),
        ("scale", ctypes.c_float),
        ("zero", ctypes.c_int32),
    )


_I32 = ctypes.c_int32
_U32_OUT = ctypes.POINTER(_U32)
_PORT_OUT = ctypes.POINTER(Port)
_STATUS = ctypes.c_int
_SIGNATURES: dict[str, tuple[object, tuple[object, ...]]] = {
    "ht_status_text": (ctypes.c_char_p, (_STATUS,)),
    "ht_model_size": (_SIZE, ()),
    "ht_model_open": (_STATUS, (_POINTER, _SIZE, _POINTER)),
    "ht_model_memory": (None, (_POINTER, _U32_OUT, _U32_OUT, _U32_OUT)),
    "ht_model_counts": (None, (_POINTER, _U32_OUT, _U32_OUT, _U32_OUT)),
    "ht_model_failed_op": (_U32, (_POINTER,)),
    "ht_weights_unpack": (_STATUS, (_POINTER, _POINTER, _SIZE)),
    "ht_model_set_arena": (_STATUS, (_POINTER, _POINTER, _SIZE)),
    "ht_input": (_STATUS, (_POINTER, _U32, _PORT_OUT)),
    "ht_output": (_STATUS, (_POINTER, _U32, _PORT_OUT)),
    "ht_op_output": (_STATUS, (_POINTER, _U32, _PORT_OUT)),
    "ht_run": (_STATUS, (_POINTER,)),
    "ht_run_op": (_STATUS, (_POINTER, _U32)),
    "ht_quantize_f32_s8": (
        None,
        (_POINTER, ctypes.c_float, _I32, _POINTER, _I32),
    ),
    "ht_dequantize_s8_f32": (
        None,
        (_POINTER, ctypes.c_float, _I32, _POINTER, _I32),
    ),
    "ht_dequantize_s16_f32": (None, (_POINTER, ctypes.c_float, _POINTER, _I32)),
    "ht_decoder_size": (_SIZE, ()),
    "ht_gap_decoders_size": (_SIZE, ()),
    "ht_huffman_build": (_STATUS, (_POINTER, _SIZE, _POINTER)),
    "ht_huffman_build_gap": (_STATUS, (_POINTER, _SIZE, _POINTER, _SIZE, _POINTER)),
    "ht_huffman_decode_dense": (_STATUS, (_POINTER, _POINTER, _SIZE, _POINTER, _SIZE)),
    "ht_huffman_decode_gap": (_STATUS, (_POINTER, _POINTER, _SIZE, _POINTER, _SIZE)),
    "ht_ctx_encode": (_STATUS, (_POINTER, _I32, _I32, _I32, _POINTER, _SIZE, _POINTER)),
    "ht_ctx_decode": (_STATUS, (_POINTER, _SIZE, _I32, _I32, _POINTER)),
    "ht_crc32": (_U32, (_U32, _POINTER, _SIZE)),
}


def find_library() -> Path:
    """Return where the library is: beside the modules, or where an editable install put it.

    Raises:
        ConfigError: HT105, it has not been built.
    """
    from pathlib import Path  # 4 ms that a device's first prediction need not wait for

    for folder in hardtack_runtime.__path__:
        path = Path(folder) / _NAME
        if path.is_file():
            return path
    raise ConfigError(
        "HT105", _NAME, "the C runtime is not built",
        "install hardtack-runtime from its wheel, or with a C compiler: pip install agent/runtime",
    )  # fmt: skip


@functools.cache
def opened() -> ctypes.CDLL:
    """Load the library once and declare its functions.

    Raises:
        ConfigError: HT105, it is missing or of another version.
    """
    try:
        loaded = _load()
        for name, (result, arguments) in _SIGNATURES.items():
            function = getattr(loaded, name)
            function.restype = result
            function.argtypes = arguments
    except (OSError, AttributeError) as error:
        raise ConfigError("HT105", _NAME, str(error), "build it again") from error
    return loaded


def _load() -> ctypes.CDLL:
    for folder in hardtack_runtime.__path__:
        try:
            return ctypes.CDLL(f"{folder}/{_NAME}")
        except OSError:
            continue
    return ctypes.CDLL(str(find_library()))  # there, but it does not load: say why


_NOT_A_BUNDLE = {-3, -4}
_OTHER_VERSION = {-5, -6, -18}


def check(status: int, where: str = "bundle") -> None:
    """Turn an `ht_status` into the error it means.

    Raises:
        BundleError: HT211 not a bundle or cut short, HT212 malformed.
        GateError: HT502 of another format or kernel version.
    """
    if status == 0:
        return
    met = opened().ht_status_text(status).decode()
    kind: type[HardtackError] = GateError if status in _OTHER_VERSION else BundleError
    code = "HT212"
    if status in _OTHER_VERSION:
        code = "HT502"
    elif status in _NOT_A_BUNDLE:
        code = "HT211"
    raise kind(code, where, met)
