"""Where a firmware's bytes go: by section, by part and kernel, by layer of its models."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from itertools import zip_longest
from pathlib import Path
from typing import Any

from hardtack_firmware.build import Built
from hardtack_firmware.generate import Model

_CRYPTOGRAPHY = {"monocypher.o", "ht_sha512.o", "ht_sha256.o", "ht_ed25519.o"}
_POOL = "pool"


@dataclass(frozen=True, slots=True)
class Sections:
    """Bytes of an image.

    Attributes:
        code: Code and constants, in flash.
        data: Initial values, in flash and memory.
        zeros: Memory that starts as zeros, the pool among it.
        stack: Reserved for the stack.
        pool: Of `zeros`, memory for a model.
    """

    code: int
    data: int
    zeros: int
    stack: int
    pool: int

    @property
    def flash(self) -> int:
        """Bytes of flash."""
        return self.code + self.data

    @property
    def ram(self) -> int:
        """Bytes of memory."""
        return self.data + self.zeros + self.stack


@dataclass(frozen=True, slots=True)
class Part:
    """Bytes of flash and memory of a group of object files."""

    name: str
    flash: int
    ram: int


@dataclass(frozen=True, slots=True)
class Layer:
    """What a layer takes of a bundle: its constants as stored and as they are, bytes."""

    name: str
    operator: str
    stored: int
    raw: int
    output: int


@dataclass(frozen=True, slots=True)
class Report:
    """All of it; kernels are a part each, the largest first."""

    sections: Sections
    parts: tuple[Part, ...]
    kernels: tuple[Part, ...]
    layers: dict[str, tuple[Layer, ...]]

    def as_document(self) -> dict[str, Any]:
        """Return it for machines."""
        return asdict(self) | {"flash": self.sections.flash, "ram": self.sections.ram}


def measure(built: Built) -> Report:
    """Read the sizes from the ELF file and its objects."""
    symbols = _sizes_of_symbols(built.elf)
    owners = _owners(built.elf.parent)
    flash: dict[str, int] = {}
    ram: dict[str, int] = {}
    for name, (size, in_flash) in symbols.items():
        group = _group(owners.get(name, ""), built.elf)
        sums = flash if in_flash else ram
        sums[group] = sums.get(group, 0) + size
    parts = [Part(n, flash.get(n, 0), ram.get(n, 0)) for n in {*flash, *ram}]
    parts.sort(key=lambda part: (-part.flash, part.name))
    kernels = [part for part in parts if part.name.startswith("kernel ")]
    return Report(
        _sections(built.elf, symbols.get(_POOL, (0, False))[0]),
        tuple(part for part in parts if part not in kernels),
        tuple(Part(k.name.removeprefix("kernel "), k.flash, k.ram) for k in kernels),
        {model.bundle.header.release: layers(model) for model in built.models},
    )


def layers(model: Model) -> tuple[Layer, ...]:
    """Return what each layer takes; a constant that two layers share counts for the first."""
    program = model.bundle.program
    constants = [i for i, tensor in enumerate(program.tensors) if tensor.data is not None]
    stored = dict(zip(constants, (s.size for s in model.bundle.stored), strict=True))
    found = []
    for name, op in zip_longest(model.bundle.manifest.layers, program.ops, fillvalue=""):
        if isinstance(op, str):
            continue
        own = [index for index in dict.fromkeys(op.tensors()) if index in stored]
        raw = sum(_bytes(program.tensors[index].data) for index in own)
        outputs = [t for t in op.tensors() if program.tensors[t].data is None]
        largest = max((program.tensors[t].nbytes for t in outputs), default=0)
        size = sum(stored.pop(index) for index in own)
        found.append(Layer(name, type(op).__name__, size, raw, largest))
    return tuple(found)


def _bytes(data: Any) -> int:
    return 0 if data is None else int(data.nbytes)


def _sections(elf: Path, pool: int) -> Sections:
    from elftools.elf.constants import SH_FLAGS
    from elftools.elf.elffile import ELFFile

    code = data = zeros = stack = 0
    with elf.open("rb") as file:
        for section in ELFFile(file).iter_sections():
            size, flags = int(section["sh_size"]), int(section["sh_flags"])
            if not flags & SH_FLAGS.SHF_ALLOC:
                continue
            if section.name == ".stack":
                stack += size
            elif section["sh_type"] == "SHT_NOBITS":
                zeros += size
            elif flags & SH_FLAGS.SHF_WRITE:
                data += size
            else:
                code += size
    return Sections(code, data, zeros, stack, pool)


def _sizes_of_symbols(elf: Path) -> dict[str, tuple[int, bool]]:
    """Return size, and whether it lies in flash, of every function and object by name."""
    from elftools.elf.constants import SH_FLAGS
    from elftools.elf.elffile import ELFFile

    found: dict[str, tuple[int, bool]] = {}
    seen: set[int] = set()
    with elf.open("rb") as file:
        image = ELFFile(file)
        for symbol in image.get_section_by_name(".symtab").iter_symbols():
            kind, index = symbol["st_info"]["type"], symbol["st_shndx"]
            if kind not in {"STT_FUNC", "STT_OBJECT"} or not isinstance(index, int):
                continue
            address = int(symbol["st_value"])
            if symbol["st_size"] == 0 or address in seen:
                continue  # a second name of the same thing
            seen.add(address)
            writable = image.get_section(index)["sh_flags"] & SH_FLAGS.SHF_WRITE
            size, _ = found.get(symbol.name, (0, True))  # static ones may share a name
            found[symbol.name] = (size + int(symbol["st_size"]), not writable)
    return found


def _owners(folder: Path) -> dict[str, str]:
    """Return which object file defines a symbol."""
    from elftools.elf.elffile import ELFFile

    owners: dict[str, str] = {}
    for path in sorted(folder.glob("*.o")):
        with path.open("rb") as file:
            table = ELFFile(file).get_section_by_name(".symtab")
            for symbol in table.iter_symbols() if table is not None else ():
                if symbol["st_size"] and isinstance(symbol["st_shndx"], int):
                    owners.setdefault(symbol.name, path.name)
    return owners


def _group(owner: str, elf: Path) -> str:
    project = elf.parents[2]
    source = owner.removesuffix(".o") + ".c"
    if owner == "operators.o":
        return "tables"
    if owner in _CRYPTOGRAPHY:
        return "cryptography"
    if (project / "csrc/src/kernels" / source).is_file():
        return f"kernel {owner.removeprefix('ht_').removesuffix('.o').removesuffix('_s8')}"
    for folder, name in (
        ("csrc/src", "runtime"), ("core/src", "slots and protocol"), ("generated", "tables"),
        ("app", "application"),
    ):  # fmt: skip
        if (project / folder / source).is_file():
            return name
    return "board" if owner else "C library"
