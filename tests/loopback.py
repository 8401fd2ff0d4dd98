"""Run a command in a network of loopback alone, in which Ray may be started.

    python tests/loopback.py pytest tests/distributed

Elsewhere Ray looks for a cloud's address service, and replaces 127.0.0.1 by the machine's own address.
The command gets a network namespace without any other interface, and its processes end with it. It
fails where the kernel does not permit that.
"""

import os
import signal
import socket
import subprocess
import sys

INSIDE = "TRIFOLIUM_LOOPBACK"
SETTINGS = {INSIDE: "1", "RAY_USAGE_STATS_ENABLED": "0", "RAY_ENABLE_WINDOWS_OR_OSX_CLUSTER": "0"}
SETTINGS["RAY_AUTH_MODE"] = "disabled"  # nobody else is in that network; no token is written to a file
NAMESPACES = ["--net", "--pid", "--fork", "--kill-child", "--mount-proc"]


def is_inside() -> bool:
    """Return whether this process sees no network but loopback."""
    return INSIDE in os.environ and [name for _, name in socket.if_nameindex()] == ["lo"]


def raise_loopback() -> None:
    """Bring the interface lo up, as ``ip link set lo up`` does."""
    import fcntl
    import struct

    get_flags, set_flags, up = 0x8913, 0x8914, 1
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as any_socket:
        request = fcntl.ioctl(any_socket, get_flags, struct.pack("16sh14x", b"lo", 0))
        flags = struct.unpack("16sh14x", request)[1]
        fcntl.ioctl(any_socket, set_flags, struct.pack("16sh14x", b"lo", flags | up))


def run_as_init(command: list[str]) -> None:
    """Run the command, and wait for every process that its parent left, as the first process must.

    Ray's workers end when their raylet's process is gone, and one that nobody waited for is not.
    """
    child = os.fork()
    if not child:
        os.execvp(command[0], command)
    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, lambda received, _: os.kill(child, received))
    ended, status = 0, 0
    while ended != child:
        ended, status = os.wait()
    sys.exit(os.waitstatus_to_exitcode(status) & 0xFF)


def main(command: list[str]) -> None:
    """Replace this process by the command, in such a network."""
    if not command:
        sys.exit(__doc__)
    if command[0] == "--inside":
        raise_loopback()
        if not is_inside():
            sys.exit(f"interfaces {socket.if_nameindex()}; expected lo alone")
        run_as_init(command[1:])
    unshare = ["unshare", *([] if os.geteuid() == 0 else ["--map-root-user"]), *NAMESPACES]
    try:
        subprocess.run([*unshare, "true"], check=True, capture_output=True, text=True)
    except (OSError, subprocess.CalledProcessError) as error:
        reason = getattr(error, "stderr", None) or error
        sys.exit(
            f"{' '.join(unshare)} is not permitted here, so Ray can't be started in a network of "
            f"loopback alone: {reason}"
        )
    inside = [*unshare, sys.executable, __file__, "--inside", *command]
    os.execvpe(unshare[0], inside, {**os.environ, **SETTINGS})


if __name__ == "__main__":
    main(sys.argv[1:])
