"""The trial of a bundle: replay its golden vectors, in a process of its own.

A bundle that crashes or hangs takes that process with it, not the agent.
"""

from __future__ import annotations

import json
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path

from hardtack_runtime.errors import HardtackError

_MARK = "trial:"


@dataclass(frozen=True, slots=True)
class Verdict:
    """How a trial ended.

    Attributes:
        code: Empty when it passed, else HTnnn.
        detail: For people.
        again: True when the process died or hung, which may not be the bundle's fault.
    """

    code: str = ""
    detail: str = ""
    again: bool = False


def try_bundle(data: bytes) -> Verdict:
    """Build the interpreter and replay every golden vector, here and now."""
    from hardtack_agent.inference import require_ports
    from hardtack_runtime.bundle import read_contract
    from hardtack_runtime.golden import replay
    from hardtack_runtime.interpreter import Interpreter

    try:
        contract = read_contract(data)
        interpreter = Interpreter(data)
        require_ports(contract, interpreter)
        replay(interpreter, contract.golden, contract.manifest.layers)
    except HardtackError as error:
        return Verdict(error.code, str(error))
    return Verdict()


def try_in_process(path: Path, timeout_s: float) -> Verdict:
    """Try the bundle in a file in a new process, for at most `timeout_s` seconds."""
    # -P: what lies in the folder the agent was started from is no module of ours.
    command = [sys.executable, "-P", "-m", "hardtack_agent.trial", str(path)]
    try:
        done = subprocess.run(command, capture_output=True, timeout=timeout_s, check=False)
    except subprocess.TimeoutExpired:
        return Verdict("HT607", f"the trial hung for {timeout_s:g} s", again=True)
    except OSError as error:
        return Verdict("HT607", f"the trial could not begin: {error}", again=True)
    for line in done.stdout.decode(errors="replace").splitlines():
        if line.startswith(_MARK):
            return Verdict(*json.loads(line.removeprefix(_MARK)))
    tail = done.stderr.decode(errors="replace").strip().splitlines()[-1:]
    return Verdict("HT607", f"the trial died, status {done.returncode} {tail}", again=True)


def main() -> None:
    """Try the bundle named on the command line and print the verdict."""
    verdict = try_bundle(Path(sys.argv[1]).read_bytes())
    sys.stdout.write(f"{_MARK}{json.dumps([verdict.code, verdict.detail, verdict.again])}\n")


if __name__ == "__main__":
    main()
