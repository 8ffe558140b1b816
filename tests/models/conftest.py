import pytest
import torch


@pytest.fixture(scope="package", autouse=True)
def one_thread():
    """Tiny models are faster on one thread, all the more on a machine that does something else too."""
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)
