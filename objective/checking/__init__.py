"""The instruments of `tacotune check`: they look at a corpus before anything is trained on it."""
