import matplotlib

# Figures are drawn in memory, whatever display the machine has. MPLBACKEND would do that too, but the kernels
# that tests start would inherit it, and show no figures.
matplotlib.use("Agg")
