//! What a carrier bills by the call: an estimate, before anything is sent.

/// How much goes over an endpoint.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Load {
    /// Datagrams a second; infinite for as many as there can be.
    pub rate: f64,
    /// Bytes of each, payload and envelope.
    pub size: usize,
}

/// What one datagram takes of one kind of call.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Calls {
    /// What they are for, in one word.
    pub what: &'static str,
    /// Calls a datagram.
    pub made: f64,
    /// What is billed of them: a call of many bytes may count as several.
    pub billed: f64,
}

/// What an endpoint costs at some [`Load`]: an estimate by
/// [`Registry::cost`](crate::Registry::cost), from what the carrier publishes.
#[derive(Clone, Debug, PartialEq)]
pub struct Cost {
    /// What each datagram takes, from its sender to its settlement.
    pub calls: Vec<Calls>,
    /// What a receiver calls while nothing comes, calls a minute.
    pub idle: f64,
    /// US dollars for a million calls that are billed.
    pub price: f64,
    /// What is assumed, in one line.
    pub assumed: String,
}

impl Cost {
    /// Calls a datagram, of all kinds.
    #[must_use]
    pub fn made(&self) -> f64 {
        self.calls.iter().map(|calls| calls.made).sum()
    }

    /// Calls a datagram that are billed, of all kinds.
    #[must_use]
    pub fn billed(&self) -> f64 {
        self.calls.iter().map(|calls| calls.billed).sum()
    }
}
