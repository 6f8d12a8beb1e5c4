"""What every test shares: float64 where asked, no network, and real data where the machine has them."""

import os
import signal
import socket
from pathlib import Path

import pytest
import torch

ROOT = Path(__file__).resolve().parents[1]


def pytest_configure() -> None:
    """Take Ctrl-C seriously, also where the tests run in the background and a shell has had it ignored."""
    signal.signal(signal.SIGINT, signal.default_int_handler)


@pytest.fixture(autouse=True)
def no_network(monkeypatch: pytest.MonkeyPatch) -> None:
    """A test that reaches for another machine fails; loopback and sockets in the file system stay open."""
    connect = socket.socket.connect

    def guarded(self, address, *args):
        if isinstance(address, tuple) and address[0] not in ("127.0.0.1", "localhost", "::1"):
            raise OSError(f"tests use no network, but something connects to {address}")
        return connect(self, address, *args)

    monkeypatch.setattr(socket.socket, "connect", guarded)


@pytest.fixture(scope="session", autouse=True)
def one_thread() -> None:
    """Tests run side by side, one core each."""
    torch.set_num_threads(1)


def _data_root() -> Path:
    return Path(os.environ.get("FLEXURE_TEST_DATA", Path.home() / ".cache" / "shared-data"))


@pytest.fixture
def real_data() -> Path:
    """The folder with real data sets (``MNIST/raw``, ``cifar10/test/<class>``), or a skip that says what is missing."""
    root = _data_root()
    if not (root / "cifar10" / "test").is_dir():
        pytest.skip(f"no real data under {root}; set FLEXURE_TEST_DATA to a folder with cifar10/test and MNIST/raw")
    return root


@pytest.fixture
def trained_resnet20() -> Path:
    """The state dict of a ResNet-20 that others trained on CIFAR-10, or a skip that says what is missing."""
    places = [_data_root() / "specimens", ROOT.parent / "shared" / "data" / "specimens"]
    for place in places:
        if (found := place / "cifar10-resnet20.safetensors").is_file():
            return found
    pytest.skip(f"no cifar10-resnet20.safetensors in {' or '.join(map(str, places))}")
