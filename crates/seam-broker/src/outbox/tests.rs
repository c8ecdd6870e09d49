//! Fates, credit and order.

use super::*;

mod lanes;
mod model;

/// More than any test has.
const MUCH: Credit = Credit { count: 99, bytes: 1 << 20 };

/// A queue, which fails by key or does not.
#[derive(Debug, PartialEq)]
struct Queue {
    is_fifo: bool,
}

impl Target for Queue {
    fn fails_by_key(&self) -> bool {
        self.is_fifo
    }
}

fn target(is_fifo: bool) -> Arc<Queue> {
    Arc::new(Queue { is_fifo })
}

fn failure() -> Error {
    Error::disconnected("broker://h/orders", "gone")
}
