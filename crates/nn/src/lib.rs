//! Layers, weights by path, optimizers.
