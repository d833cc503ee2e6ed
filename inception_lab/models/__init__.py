"""The networks: building blocks, published designs, and every network that the course compares."""
