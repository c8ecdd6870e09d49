//! The conformance suite over Unix domain sockets: the session in each role, the plain wire, and a listener for both.

use std::path::PathBuf;
use std::sync::LazyLock;
use std::sync::atomic::{AtomicU32, Ordering};

use seam_conformance::{End, Options, Subject};
use seam_core::{Registry, Side};
use seam_unix::Unix;
use tempfile::TempDir;
use tokio::runtime::{Builder, Handle};

/// A folder for the sockets of this process.
fn folder() -> PathBuf {
    static FOLDER: LazyLock<TempDir> = LazyLock::new(|| TempDir::new().unwrap());
    FOLDER.path().to_owned()
}

/// Each behaviour gets a runtime of its own.
fn options() -> Options {
    Options::new(|run| {
        let runtime = Builder::new_multi_thread().worker_threads(2).enable_all().build().unwrap();
        runtime.block_on(run);
    })
    .with_live_tasks(|| Handle::current().metrics().num_alive_tasks())
}

/// At a path of its own: each behaviour has a registry of its own.
fn subject(name: &str, uri: fn(&str, &End<'_>) -> String) -> Subject {
    static NEXT: AtomicU32 = AtomicU32::new(0);
    let number = NEXT.fetch_add(1, Ordering::Relaxed);
    let socket = format!("unix://{}/{name}-{number}", folder().display());
    let first = format!("{socket}.sock?address=orders");
    Subject::new(
        Registry::new().with(Unix::new()),
        first,
        options().with_uri(move |end| uri(&socket, end)),
    )
}

/// One client that faces several servers listens.
fn pooled(end: &End<'_>) -> &'static str {
    match (end.is_pool, end.side) {
        (false, _) => "",
        (true, Side::Client) => "&role=listen",
        (true, Side::Server) => "&role=dial",
    }
}

/// Where the wire has no address each has a socket of its own.
fn plain(socket: &str, end: &End<'_>) -> String {
    format!("{socket}-{}.sock?wire=connect{}", end.address, pooled(end))
}

mod session {
    use super::*;

    seam_conformance::conformance!(subject("session", |socket, end| {
        format!("{socket}.sock?address={}{}", end.address, pooled(end))
    }));
}

/// Clients listen, servers dial.
mod roles_swapped {
    use super::*;

    seam_conformance::conformance!(subject("swapped", |socket, end| {
        let role = match end.side {
            _ if end.is_hub => "",
            Side::Client => "&role=listen",
            Side::Server => "&role=dial",
        };
        format!("{socket}.sock?address={}{role}", end.address)
    }));
}

/// Version 1 at both ends.
mod connect {
    use super::*;

    seam_conformance::conformance!(subject("connect", plain));
}

/// A listener for both, and clients of version 1.
mod any_from_connect {
    use super::*;

    seam_conformance::conformance!(subject("any", |socket, end| {
        match (end.side == Side::Server) != end.is_pool {
            true => format!("{socket}-{0}.sock?address={0}&wire=any{1}", end.address, pooled(end)),
            false => plain(socket, end),
        }
    }));
}
