import pytest

from qvec.testing import AdapterSuite
from qvec.testing.lifecycle import LifecycleTests


class TestToyInMemory(AdapterSuite):
    uri = "toy://"


class TestToyInFile(LifecycleTests):
    """What differs with a file: collections outlive the connection."""

    @pytest.fixture(scope="class")
    @classmethod
    def adapter_uri(cls, tmp_path_factory: pytest.TempPathFactory) -> str:
        return f"toy://{tmp_path_factory.mktemp('toy') / 'toy.json'}"
