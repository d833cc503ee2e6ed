"""The tests that `make quick` runs."""

# What is not slow in these files: some of every package, together about a minute on one core.
QUICK = {
    "tests": ["test_cli"],
    "costs": ["test_counting", "test_published"],
    "course": ["test_claims", "test_notebook_prose", "test_project"],
    "data": ["test_crops", "test_datasets", "test_folders", "test_pictures"],
    "evaluation": ["test_records"],
    "explorer": ["test_explorer_page"],
    "hub": ["test_lucent"],
    "lens": ["test_connections", "test_lens"],
    "models": ["test_blocks"],
    "plots": ["test_palette", "test_plots"],
    "training": ["test_gradient_norms", "test_progress", "test_recipes"],
}
