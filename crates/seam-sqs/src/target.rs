//! Where the senders of a connection write.

/// Where datagrams are written.
#[derive(Debug, PartialEq, Eq, Hash)]
pub(crate) struct Target {
    pub(crate) url: String,
    pub(crate) is_fifo: bool,
    /// Whether datagrams without key have no order among them, as requests have none: whoever serves them may hold many.
    pub(crate) is_spread: bool,
    /// Whether a requester reads there, and nobody makes the queue again.
    pub(crate) is_reply: bool,
    /// Whether small datagrams share a message.
    pub(crate) packs: bool,
    /// The bytes that a message may have.
    pub(crate) largest: usize,
}

impl seam_broker::Target for Target {
    /// A FIFO queue promises its order through failures.
    fn fails_by_key(&self) -> bool {
        self.is_fifo
    }
}
