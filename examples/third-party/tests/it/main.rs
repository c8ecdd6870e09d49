//! Integration tests of `channel://` and `pipe://`.

mod conformance;
mod pipe;
