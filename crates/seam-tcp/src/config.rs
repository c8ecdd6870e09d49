//! The parameters of `tcp://`.

use std::time::Duration;

use seam_core::{Endpoint, Kind, Parameter, Scheme, Shape};

pub(crate) static SCHEMES: [Scheme; 1] = [Scheme::new("tcp", Shape::Hosts, &PARAMETERS)
    .with_default_port(7420)
    .with_optional_address("wire", "connect")
    .with_about("TCP: sessions, or the plain wire of the crate `connect`")];

static PARAMETERS: [Parameter; 22] = seam_link::parameters_with([NAGLE, KEEP_ALIVE, USER_TIMEOUT]);

const NAGLE: Parameter = Parameter::new("nagle", Kind::Flag)
    .with_about("let the operating system gather small writes: leaves TCP_NODELAY unset");

const KEEP_ALIVE: Parameter = Parameter::new("tcp_keep_alive", Kind::Duration)
    .with_default("30s")
    .with_about("after this time of silence the operating system asks whether the peer is there");

const USER_TIMEOUT: Parameter =
    Parameter::new("tcp_user_timeout", Kind::Duration).with_default("30s").with_about(
        "after this time without an answer of the peer's host the connection is lost (Linux)",
    );

/// How sockets are set up.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Options {
    pub(crate) nagle: bool,
    pub(crate) keep_alive: Duration,
    pub(crate) user_timeout: Duration,
}

impl Options {
    pub(crate) fn new(endpoint: &Endpoint) -> Self {
        let half_a_minute = Duration::from_secs(30);
        Self {
            nagle: endpoint.flag("nagle"),
            keep_alive: endpoint.duration("tcp_keep_alive").unwrap_or(half_a_minute),
            user_timeout: endpoint.duration("tcp_user_timeout").unwrap_or(half_a_minute),
        }
    }
}
