//! The commands against each other, in one process: over one registry with `memory://`.

mod asking;
mod receiving;
mod sending;

use std::io::Write;
use std::pin::Pin;
use std::sync::{Arc, Mutex};
use std::task::{Context, Poll};
use std::time::Duration;

use clap::Parser;
use seam_core::{Memory, Registry};
use tokio::io::{AsyncRead, AsyncWrite};

use crate::args::{Args, Command};
use crate::failure::Outcome;
use crate::stop::Stop;
use crate::tally::{Summary, Tally};
use crate::{receive, send};

/// Far beyond what any of this takes.
const DEADLINE: Duration = Duration::from_secs(60);

fn registry() -> Registry {
    Registry::new().with(Memory::new())
}

/// The command of a command line.
#[track_caller]
fn command(line: &[&str]) -> Command {
    Args::try_parse_from([&["seam"], line].concat()).unwrap().command
}

/// Never raised.
fn calm() -> Stop {
    Stop::new().1
}

async fn soon<T>(future: impl Future<Output = T>) -> T {
    tokio::time::timeout(DEADLINE, future).await.expect("it takes too long")
}

/// `seam send` with these arguments and this input; what was sent, and what it came to.
async fn send(
    registry: &Registry,
    line: &[&str],
    input: impl AsyncRead + Unpin,
) -> (Option<Summary>, Outcome) {
    send_keeping(registry, line, input, Tally::new(None), &calm()).await
}

async fn send_keeping(
    registry: &Registry,
    line: &[&str],
    input: impl AsyncRead + Unpin,
    tally: Tally,
    stop: &Stop,
) -> (Option<Summary>, Outcome) {
    let Command::Send(args) = command(&[&["send"], line].concat()) else { unreachable!() };
    soon(send::send_from(registry, &args, input, tally, stop)).await
}

/// `seam receive` with these arguments; what it wrote, and what it came to.
async fn receive(registry: &Registry, line: &[&str]) -> (String, Outcome) {
    let page = Page::default();
    let outcome = receive_into(registry, line, page.clone(), &calm()).await;
    (page.text(), outcome)
}

async fn receive_into(
    registry: &Registry,
    line: &[&str],
    output: impl AsyncWrite + Unpin,
    stop: &Stop,
) -> Outcome {
    let Command::Receive(args) = command(&[&["receive"], line].concat()) else { unreachable!() };
    soon(receive::receive_into(registry, &args, output, stop)).await
}

/// Keeps what is written; clones share it.
#[derive(Clone, Default)]
struct Page(Arc<Mutex<Vec<u8>>>);

impl Page {
    fn text(&self) -> String {
        String::from_utf8(self.0.lock().unwrap().clone()).unwrap()
    }
}

impl Write for Page {
    fn write(&mut self, bytes: &[u8]) -> std::io::Result<usize> {
        self.0.lock().unwrap().write(bytes)
    }

    fn flush(&mut self) -> std::io::Result<()> {
        Ok(())
    }
}

impl AsyncWrite for Page {
    fn poll_write(
        mut self: Pin<&mut Self>,
        _: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<std::io::Result<usize>> {
        Poll::Ready(self.write(bytes))
    }

    fn poll_flush(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<std::io::Result<()>> {
        Poll::Ready(Ok(()))
    }

    fn poll_shutdown(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<std::io::Result<()>> {
        Poll::Ready(Ok(()))
    }
}

/// Takes everything, and fails to flush it: a disk that is full.
struct Full;

impl AsyncWrite for Full {
    fn poll_write(
        self: Pin<&mut Self>,
        _: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<std::io::Result<usize>> {
        Poll::Ready(Ok(bytes.len()))
    }

    fn poll_flush(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<std::io::Result<()>> {
        Poll::Ready(Err(std::io::Error::other("the disk is full")))
    }

    fn poll_shutdown(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<std::io::Result<()>> {
        Poll::Ready(Ok(()))
    }
}
