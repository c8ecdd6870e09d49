//! A child process of a fault test: does what its one argument says, a [`Role`] in JSON.

use std::io::Write;

use integration_tests::actors::{Failure, Role, Said, ask, confess, consume, echo, produce};
use tokio::io::{AsyncReadExt, stdin};
use tokio::signal::unix::{SignalKind, signal};
use tracing_subscriber::filter::LevelFilter;

fn main() -> Result<(), Failure> {
    let role = std::env::args().nth(1).ok_or("actor: needs its role, in JSON")?;
    let role: Role = serde_json::from_str(&role)?;
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build()?;
    let played = runtime.block_on(play(role));
    // A read of standard input that nobody waits for any more would hold it back.
    runtime.shutdown_background();
    played
}

async fn play(role: Role) -> Result<(), Failure> {
    let registry = seam::registry();
    match role {
        Role::Produce(job) => {
            produce(&registry, &job, say, stopped()).await?;
        }
        Role::Consume(job) => {
            consume(&registry, &job, say, stopped()).await?;
        }
        Role::Echo(address) => echo(address, |address| println!("{address}")).await?,
        Role::Ask(address) => ask(address).await?,
        Role::Confess(uris) => {
            tracing_subscriber::fmt()
                .with_writer(std::io::stderr)
                .with_max_level(LevelFilter::TRACE)
                .init();
            confess(&registry, &uris, |said| println!("{said}")).await;
        }
    }
    Ok(())
}

/// Resolves on SIGTERM, which is heeded from now on, or at the end of standard input.
fn stopped() -> impl Future<Output = ()> {
    let mut terminated = signal(SignalKind::terminate()).expect("the system has signals");
    async move {
        let mut rest = Vec::new();
        let mut input = stdin();
        tokio::select! {
            _ = terminated.recv() => {}
            _ = input.read_to_end(&mut rest) => {}
        }
    }
}

fn say(said: &Said) {
    let line = serde_json::to_string(said).expect("strings and numbers are always written");
    // A test that has gone does not listen any more; its end stops this process too.
    let _ = writeln!(std::io::stdout().lock(), "{line}");
}
