//! The conformance suite over TCP: the session in each role, the plain wire, and a listener for both.

use std::collections::HashMap;
use std::sync::Mutex;

use seam_conformance::{End, Options, Subject, free_port};
use seam_core::{Registry, Side};
use seam_tcp::Tcp;
use tokio::runtime::{Builder, Handle};

/// Each behaviour gets a runtime of its own.
fn options() -> Options {
    Options::new(|run| {
        let runtime = Builder::new_multi_thread().worker_threads(2).enable_all().build().unwrap();
        runtime.block_on(run);
    })
    .with_live_tasks(|| Handle::current().metrics().num_alive_tasks())
}

/// Over one port: `authority` with `role` for whoever of a pool listens and dials.
fn subject(host: &'static str, parameters: fn(&End<'_>) -> &'static str) -> Subject {
    let port = free_port();
    let options = options().with_uri(move |end| {
        let (address, parameters) = (end.address, parameters(end));
        format!("tcp://{host}:{port}/{address}{parameters}")
    });
    Subject::new(Registry::new().with(Tcp::new()), format!("tcp://{host}:{port}/orders"), options)
}

/// Where the wire has no address: each has a port of its own.
fn plain_subject(uri: fn(u16, &End<'_>) -> String) -> Subject {
    let ports: Mutex<HashMap<String, u16>> = Mutex::default();
    let options = options().with_uri(move |end| {
        let mut ports = ports.lock().unwrap();
        uri(*ports.entry(end.address.to_owned()).or_insert_with(free_port), end)
    });
    let uri = format!("tcp://127.0.0.1:{}?wire=connect", free_port());
    Subject::new(Registry::new().with(Tcp::new()), uri, options)
}

/// One client that faces several servers listens.
fn pooled(end: &End<'_>) -> &'static str {
    match (end.is_pool, end.side) {
        (false, _) => "",
        (true, Side::Client) => "?role=listen",
        (true, Side::Server) => "?role=dial",
    }
}

mod session {
    use super::*;

    seam_conformance::conformance!(subject("127.0.0.1", pooled));
}

/// Over IPv6.
mod session_v6 {
    use super::*;

    seam_conformance::conformance!(subject("[::1]", pooled));
}

/// Clients listen, servers dial.
mod roles_swapped {
    use super::*;

    seam_conformance::conformance!(subject("127.0.0.1", |end| match end.side {
        _ if end.is_hub => "",
        Side::Client => "?role=listen",
        Side::Server => "?role=dial",
    }));
}

/// Version 1 at both ends.
mod connect {
    use super::*;

    seam_conformance::conformance!(plain_subject(|port, end| {
        let role = pooled(end).replace('?', "&");
        format!("tcp://127.0.0.1:{port}?wire=connect{role}")
    }));
}

/// A listener for both, and clients of version 1.
mod any_from_connect {
    use super::*;

    seam_conformance::conformance!(plain_subject(|port, end| {
        let (role, address) = (pooled(end).replace('?', "&"), end.address);
        let listens = (end.side == Side::Server) != end.is_pool;
        match listens {
            true => format!("tcp://127.0.0.1:{port}/{address}?wire=any{role}"),
            false => format!("tcp://127.0.0.1:{port}?wire=connect{role}"),
        }
    }));
}

/// A listener for both, and clients of the session.
mod any_from_session {
    use super::*;

    seam_conformance::conformance!(plain_subject(|port, end| {
        let (role, address) = (pooled(end).replace('?', "&"), end.address);
        let listens = (end.side == Side::Server) != end.is_pool;
        let wire = if listens { "any" } else { "session" };
        format!("tcp://127.0.0.1:{port}/{address}?wire={wire}{role}")
    }));
}
