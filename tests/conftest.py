import matplotlib
import pytest
import torch

# Figures are drawn in memory, whatever display the machine has. MPLBACKEND would do that too, but the kernels
# that tests start would inherit it, and show no figures.
matplotlib.use("Agg")


@pytest.fixture
def one_thread():
    """PyTorch on one thread: tiny networks gain nothing from two, and lose much where the cores are busy."""
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(threads)
