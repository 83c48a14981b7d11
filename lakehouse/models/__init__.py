"""What a model is, as arithmetic: parameters, floating-point operations and bytes of a shape."""
