"""Methods: networks that find segments. Each is one module; :mod:`untrimmed.methods.catalog` lists them."""
