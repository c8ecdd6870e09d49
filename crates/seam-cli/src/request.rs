//! `seam request`: one question, one answer.

use std::path::PathBuf;
use std::time::Duration;

use seam_core::{Capability, Connection, Datagram, Registry, Side};
use tokio::io::AsyncWrite;

use crate::args::{duration, unless_stopped};
use crate::failure::{Failure, Outcome};
use crate::fields::Fields;
use crate::receive::Form;
use crate::stop::Stop;
use crate::{dialog, input, receive};

/// Send one request and print its reply
///
/// The payload is the argument, or a file, or else all of standard input.
#[derive(Debug, clap::Args)]
#[command(after_help = EXAMPLES)]
pub(crate) struct RequestArgs {
    /// Whom to ask, such as tcp://127.0.0.1:7420/sum.
    uri: String,

    /// What to ask.
    #[arg(conflicts_with = "file")]
    payload: Option<String>,

    /// Ask with the whole of FILE.
    #[arg(long, value_name = "FILE")]
    file: Option<PathBuf>,

    /// Wait so long for the reply.
    #[arg(long, value_name = "DURATION", value_parser = duration, default_value = "10s")]
    timeout: Duration,

    /// Print the reply with all its fields, as one line of JSON.
    #[arg(long, conflicts_with = "raw")]
    json: bool,

    /// Print the reply's payload alone, without a line break.
    #[arg(long)]
    raw: bool,

    #[command(flatten)]
    fields: Fields,
}

const EXAMPLES: &str = "\
Examples:
  seam request tcp://127.0.0.1:7420/sum '1 2 3'
  seam request tcp://127.0.0.1:7420/thumbnail --file photo.jpg --raw > small.jpg
  seam request 'tcp://127.0.0.1:7420?wire=connect' hello --tag 7 --json

Where nothing ties a reply to its request (`wire=connect`), the first datagram that comes back is printed.";

/// Asks, and prints the reply.
pub(crate) async fn request(
    registry: &Registry,
    args: &RequestArgs,
    mut output: impl AsyncWrite + Unpin,
    stop: &Stop,
) -> Outcome {
    let limit = registry.check(args.uri.as_str(), Side::Client)?.limits().payload;
    let payload = stop.or(args.read_payload(limit)).await.unwrap_or_else(stopped)?;
    let connection = unless_stopped(stop, registry.client(args.uri.as_str())).await?;
    args.fields.require(&connection, false)?;
    let request = args.fields.template().with_payload(payload);
    let reply = stop.or(ask(&connection, request, args.timeout)).await.unwrap_or_else(stopped);
    let form = Form::new(args.json, args.raw);
    let printed = match &reply {
        Ok(reply) => {
            let mut text = Vec::new();
            form.print(reply.view(), &mut text);
            receive::write(&mut output, &text).await
        }
        Err(_) => Ok(()),
    };
    let grace = if reply.is_ok() { receive::DRAIN } else { Duration::ZERO };
    let drained = stop.or(connection.drain(grace)).await;
    reply?;
    printed?;
    // What else the connection left is not what was asked for.
    drained.transpose().map(drop)?;
    Ok(())
}

impl RequestArgs {
    async fn read_payload(&self, limit: usize) -> Outcome<Vec<u8>> {
        if let Some(payload) = &self.payload {
            return Ok(payload.clone().into_bytes());
        }
        let input = input::open(self.file.as_deref()).await?;
        input::read_whole(input, &input::name_of(self.file.as_deref()), limit).await
    }
}

async fn ask(connection: &Connection, request: Datagram, timeout: Duration) -> Outcome<Datagram> {
    let capabilities = connection.capabilities();
    if !capabilities.has(Capability::Reply) && capabilities.has(Capability::Peers) {
        return dialog::ask(connection, request, timeout).await;
    }
    Ok(connection.request(request, timeout).await?)
}

fn stopped<T>() -> Outcome<T> {
    Err(Failure::new("stopped by a signal before the reply came"))
}
