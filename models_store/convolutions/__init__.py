"""Convolutional parts that several families stand on."""
