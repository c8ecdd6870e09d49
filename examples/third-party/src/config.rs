//! The scheme `channel`, its parameters, and what it promises.

use seam_core::{
    Capabilities, Capability, Confirmation, Endpoint, Parameter, Scheme, Shape, Support, parameters,
};

pub(crate) static SCHEMES: [Scheme; 1] =
    [Scheme::new("channel", Shape::Address, &PARAMETERS).with_about("a queue within one process")];

static PARAMETERS: [Parameter; 5] = [
    parameters::CREDIT,
    parameters::SEND_TIMEOUT,
    parameters::CONNECT_TIMEOUT,
    parameters::RETRY,
    parameters::DEAD_LETTER,
];

/// The most datagrams that wait for one address, and that one receiver has in hand.
pub(crate) fn credit(endpoint: &Endpoint) -> usize {
    endpoint.count("credit").unwrap_or(usize::MAX)
}

pub(crate) fn capabilities() -> Capabilities {
    use Capability::{Attempts, Envelope, Redelivery, Store};
    [Attempts, Envelope, Redelivery, Store]
        .into_iter()
        .fold(Capabilities::none(), |set, capability| set.with(capability, Support::Native))
        .with_confirmation(Confirmation::Stored)
}
