//! The conformance suite over QUIC, both ends with certificates: the session in each role.

use seam_conformance::{End, Options, Subject, free_port};
use seam_core::{Registry, Side};
use seam_quic::Quic;
use tokio::runtime::{Builder, Handle};

use crate::certs::{dials, listens};

/// Over one port at `host`. Each behaviour gets a runtime of its own.
fn subject(host: &'static str, is_listener: fn(&End<'_>) -> bool) -> Subject {
    let port = free_port();
    let options = Options::new(|run| {
        let runtime = Builder::new_multi_thread().worker_threads(2).enable_all().build().unwrap();
        runtime.block_on(run);
    });
    let options = options.with_live_tasks(|| Handle::current().metrics().num_alive_tasks());
    let options = options.with_uri(move |end| {
        let (role, own) = match is_listener(end) {
            true => ("listen", listens()),
            false => ("dial", dials()),
        };
        format!("quic://{host}:{port}/{}?role={role}&{own}", end.address)
    });
    let first = format!("quic://{host}:{port}/orders?{}", dials());
    Subject::new(Registry::new().with(Quic::new()), first, options)
}

mod session {
    use super::*;

    seam_conformance::conformance!(subject("localhost", |end| {
        (end.side == Side::Server) != end.is_pool
    }));
}

/// Clients listen, servers dial, at an address instead of a name.
mod roles_swapped {
    use super::*;

    seam_conformance::conformance!(subject("127.0.0.1", |end| match end.side {
        _ if end.is_hub => end.side == Side::Server,
        side => side == Side::Client,
    }));
}
