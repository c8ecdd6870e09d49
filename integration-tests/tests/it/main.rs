//! What no single crate can prove of itself.

mod tidy;
