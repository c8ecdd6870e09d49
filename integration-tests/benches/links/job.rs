//! What a child process is asked to do, and what it answers.

use std::fmt;
use std::time::Duration;

use integration_tests::bare::Spot;
use serde::{Deserialize, Serialize};

/// A way to move messages from one process to another.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) enum Program {
    /// The limit: blocking sockets, framed by hand.
    Std,
    /// Asynchronous streams, framed by hand.
    Bare,
    /// `LengthDelimitedCodec` of tokio-util.
    Codec,
    /// Ours: a `Batch` in, lent deliveries out, each settled on its own.
    Lent,
    /// Ours: datagrams in, owned deliveries out, each settled on its own.
    Owned,
    /// Ours on `?wire=connect`, where nothing is receipted: a `Batch` in, lent deliveries out.
    Connect,
    /// So many tasks, each awaiting every one of its sends: ours.
    Tasks(usize),
    /// So many tasks, a channel to a bare writer task, an acknowledgement of the peer for each message.
    Mpsc(usize),
    /// Request and reply: ours.
    Request,
    /// A bare echo.
    Echo,
    /// So many connections on which nothing happens: ours.
    Idle(usize),
    /// So many bare ones.
    BareIdle(usize),
}

impl Program {
    /// Whether the transport under test does it.
    pub(crate) fn is_ours(self) -> bool {
        match self {
            Self::Lent
            | Self::Owned
            | Self::Connect
            | Self::Tasks(_)
            | Self::Request
            | Self::Idle(_) => true,
            Self::Std
            | Self::Bare
            | Self::Codec
            | Self::Mpsc(_)
            | Self::Echo
            | Self::BareIdle(_) => false,
        }
    }
}

impl fmt::Display for Program {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Std => "std",
            Self::Bare => "bare",
            Self::Codec => "codec",
            Self::Lent => "lent",
            Self::Owned => "owned",
            Self::Connect => "connect",
            Self::Tasks(_) => "tasks",
            Self::Mpsc(_) => "mpsc",
            Self::Request => "request",
            Self::Echo => "bare echo",
            Self::Idle(_) => "ours",
            Self::BareIdle(_) => "bare",
        })
    }
}

/// Which of the two processes a child is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) enum Part {
    Send,
    Receive,
}

/// What one child is to do.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub(crate) struct Job {
    pub(crate) program: Program,
    /// Where the receiver is.
    pub(crate) spot: Spot,
    pub(crate) part: Part,
    /// Bytes of payload.
    pub(crate) size: usize,
    /// Not measured, at the beginning.
    pub(crate) warm: Duration,
    pub(crate) measured: Duration,
    /// Runs on one core, the same for both processes.
    pub(crate) pinned: bool,
    /// Counts allocations; its times then say nothing.
    pub(crate) counting: bool,
}

/// What one child found.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
pub(crate) struct Outcome {
    pub(crate) messages: u64,
    pub(crate) seconds: f64,
    pub(crate) cpu_seconds: f64,
    pub(crate) peak_bytes: u64,
    /// Of the whole run, warming up included, if they were counted.
    pub(crate) allocations: u64,
    /// Messages of the whole run.
    pub(crate) all_messages: u64,
    /// Microseconds of a round trip: p50, p99, p99.9.
    pub(crate) trips: [f64; 3],
    /// Bytes of memory for each idle connection.
    pub(crate) each_bytes: u64,
}

/// What a receiving child says once somebody can connect.
pub(crate) const READY: &str = "ready";

/// Of the last datagram of a run; all others have 0.
pub(crate) const LAST: u16 = 1;
