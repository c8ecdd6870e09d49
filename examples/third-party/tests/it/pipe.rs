//! The public suite, on `pipe://` and Tokio.

use seam_conformance::{Options, Subject};
use seam_core::{Registry, Side};
use third_party::Pipe;
use tokio::runtime::{Builder, Handle};

seam_conformance::conformance!(pipe());

/// Each behaviour gets a runtime and a transport of its own.
fn pipe() -> Subject {
    let options = Options::new(|run| {
        let runtime = Builder::new_multi_thread().worker_threads(2).enable_all().build();
        runtime.expect("threads are to be had").block_on(run);
    })
    .with_live_tasks(|| Handle::current().metrics().num_alive_tasks())
    // One client that faces several servers listens.
    .with_uri(|end| match (end.is_pool, end.side) {
        (false, _) => format!("pipe://{}", end.address),
        (true, Side::Client) => format!("pipe://{}?role=listen", end.address),
        (true, Side::Server) => format!("pipe://{}?role=dial", end.address),
    });
    Subject::new(Registry::new().with(Pipe::new()), "pipe://suite", options)
}
