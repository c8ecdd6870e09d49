//! The conformance suite over TCP.

use std::sync::atomic::{AtomicU16, Ordering};

use seam_conformance::{Options, Subject};
use seam_core::{Registry, Side};
use seam_tcp::Tcp;
use tokio::runtime::{Builder, Handle};

/// A port that is free now, and that the operating system gives to no connection by itself.
pub(crate) fn free_port() -> u16 {
    static NEXT: AtomicU16 = AtomicU16::new(0);
    let from = u16::try_from(std::process::id() % 8_000).unwrap();
    loop {
        let port = 20_000 + (from + NEXT.fetch_add(1, Ordering::Relaxed)) % 12_000;
        if std::net::TcpListener::bind(("127.0.0.1", port)).is_ok() {
            return port;
        }
    }
}

/// Each behaviour gets a runtime of its own.
fn options() -> Options {
    Options::new(|run| {
        let runtime = Builder::new_multi_thread().worker_threads(2).enable_all().build().unwrap();
        runtime.block_on(run);
    })
    .with_live_tasks(|| Handle::current().metrics().num_alive_tasks())
}

fn subject(uri: impl Fn(&str, Side, bool, u16) -> String + Send + Sync + 'static) -> Subject {
    let port = free_port();
    let options = options().with_uri(move |end| uri(end.address, end.side, end.is_pool, port));
    Subject::new(
        Registry::new().with(Tcp::new()),
        format!("tcp://127.0.0.1:{port}/orders"),
        options,
    )
}

mod session {
    use super::*;

    seam_conformance::conformance!(subject(|address, side, is_pool, port| {
        match (is_pool, side) {
            (false, _) => format!("tcp://127.0.0.1:{port}/{address}"),
            (true, Side::Client) => format!("tcp://127.0.0.1:{port}/{address}?role=listen"),
            (true, Side::Server) => format!("tcp://127.0.0.1:{port}/{address}?role=dial"),
        }
    }));
}
