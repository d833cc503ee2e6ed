"""What a trained network is worth: predictions, ladders, records and studies."""
