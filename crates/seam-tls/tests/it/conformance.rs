//! The conformance suite over TLS, both ends with certificates: the session in each role, the plain wire, and a listener
//! for both.

use std::collections::HashMap;
use std::sync::Mutex;

use seam_conformance::{End, Options, Subject, free_port};
use seam_core::{Registry, Side};
use seam_tls::Tls;
use tokio::runtime::{Builder, Handle};

use crate::certs::{dials, listens};

/// Each behaviour gets a runtime of its own.
fn options() -> Options {
    Options::new(|run| {
        let runtime = Builder::new_multi_thread().worker_threads(2).enable_all().build().unwrap();
        runtime.block_on(run);
    })
    .with_live_tasks(|| Handle::current().metrics().num_alive_tasks())
}

/// Whether this end listens: the server, but for a client that faces several of them.
fn by_side(end: &End<'_>) -> bool {
    (end.side == Side::Server) != end.is_pool
}

/// Over one port at `host`.
fn subject(host: &'static str, is_listener: fn(&End<'_>) -> bool) -> Subject {
    let port = free_port();
    let options = options().with_uri(move |end| {
        let listening = is_listener(end);
        let (role, own) = match listening {
            true => ("listen", listens()),
            false => ("dial", dials()),
        };
        format!("tls://{host}:{port}/{}?role={role}&{own}", end.address)
    });
    let first = format!("tls://{host}:{port}/orders?{}", dials());
    Subject::new(Registry::new().with(Tls::new()), first, options)
}

/// Where the wire has no address: each has a port of its own. `said` has the wire of a listener and a dialler.
fn plain_subject(said: [&'static str; 2]) -> Subject {
    let ports: Mutex<HashMap<String, u16>> = Mutex::default();
    let options = options().with_uri(move |end| {
        let mut ports = ports.lock().unwrap();
        let port = *ports.entry(end.address.to_owned()).or_insert_with(free_port);
        let (role, wire, own) = match by_side(end) {
            true => ("listen", said[0], listens()),
            false => ("dial", said[1], dials()),
        };
        let address = if wire == "connect" { "" } else { end.address };
        format!("tls://localhost:{port}/{address}?role={role}&wire={wire}&{own}")
    });
    let first = format!("tls://localhost:{}?wire=connect&{}", free_port(), dials());
    Subject::new(Registry::new().with(Tls::new()), first, options)
}

mod session {
    use super::*;

    seam_conformance::conformance!(subject("localhost", by_side));
}

/// Clients listen, servers dial, at an address instead of a name.
mod roles_swapped {
    use super::*;

    seam_conformance::conformance!(subject("127.0.0.1", |end| match end.side {
        _ if end.is_hub => end.side == Side::Server,
        side => side == Side::Client,
    }));
}

/// Version 1 at both ends.
mod connect {
    use super::*;

    seam_conformance::conformance!(plain_subject(["connect", "connect"]));
}

/// A listener for both, and clients of version 1.
mod any_from_connect {
    use super::*;

    seam_conformance::conformance!(plain_subject(["any", "connect"]));
}
