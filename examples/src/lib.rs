//! Home of the examples; see `README.md` beside it.
