//! `seam serve --echo`: answers every request with itself.

use futures_util::StreamExt;
use futures_util::stream::FuturesUnordered;
use seam_core::{Capability, Connection, Datagram, Delivery, Error, Registry};
use tokio::task::{JoinError, JoinSet};

use crate::dialog;
use crate::failure::{Failure, Outcome};
use crate::receive::DRAIN;
use crate::run::tell;
use crate::stop::Stop;

/// Answer requests, until Ctrl-C or SIGTERM
#[derive(Debug, clap::Args)]
#[command(after_help = EXAMPLES)]
pub(crate) struct ServeArgs {
    /// Where to serve, such as tcp://127.0.0.1:7420/sum.
    uri: String,

    /// Send each request back as its own reply.
    #[arg(long, required = true)]
    echo: bool,
}

const EXAMPLES: &str = "\
Example:
  seam serve tcp://127.0.0.1:7420/sum --echo
  seam request tcp://127.0.0.1:7420/sum hello      # in another terminal: prints hello

Where nothing ties a reply to its request (`wire=connect`), each datagram goes back to the peer that sent \
it, with its tag. What asks for no reply is discarded, and counted in the line at the end.

The first signal lets open replies finish: exit code 0 if nothing was left, else 1; 130 after the second.";

/// Serves until it is stopped.
pub(crate) async fn serve(registry: &Registry, args: &ServeArgs, stop: &Stop) -> Outcome {
    // Where it was stopped before it stood, nothing was left.
    let Some(opened) = stop.or(registry.server(args.uri.as_str())).await else { return Ok(()) };
    let connection = opened?;
    let capabilities = connection.capabilities();
    let served = if capabilities.has(Capability::Reply) {
        echo_requests(&connection, stop).await
    } else if capabilities.has(Capability::Peers) {
        echo_peers(&connection, stop).await
    } else {
        connection.require(&[Capability::Reply]).map(|()| Served::default()).map_err(Failure::from)
    };
    let drained = connection.drain(DRAIN).await;
    let Served { answered, discarded } = served?;
    tell(&format!("{answered} answered, {discarded} discarded that could not be answered"));
    match drained?.is_clean() {
        true => Ok(()),
        false => Err(Failure::new("not every request was answered; what is left comes again")),
    }
}

/// What became of requests.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Served {
    pub(crate) answered: u64,
    pub(crate) discarded: u64,
}

/// Requests answered at once at most.
const AT_ONCE: usize = 256;
/// Peers served at once at most; the next one waits.
const PEERS: usize = 1024;
/// Attempts after which a request that cannot be answered is discarded.
const ATTEMPTS: u32 = 3;

pub(crate) async fn echo_requests(connection: &Connection, stop: &Stop) -> Outcome<Served> {
    let mut receiver = connection.receiver().await?;
    let mut served = Served::default();
    let mut open = FuturesUnordered::new();
    loop {
        tokio::select! {
            biased;
            () = stop.raised() => break,
            Some(answered) = open.next() => served.note(answered),
            request = receiver.next(), if open.len() < AT_ONCE => match request? {
                Some(request) => open.push(answer(request)),
                None => break,
            },
        }
    }
    while let Some(answered) = open.next().await {
        served.note(answered);
    }
    Ok(served)
}

impl Served {
    fn note(&mut self, answered: Result<bool, Error>) {
        match answered {
            Ok(true) => self.answered += 1,
            Ok(false) => self.discarded += 1,
            // It is acknowledged: nobody waits for it.
            Err(Error::RequesterGone) => {}
            Err(error) => tell(&format!("a request was not answered and comes again: {error}")),
        }
    }
}

/// Whether there was somebody to answer.
async fn answer(request: Delivery) -> Result<bool, Error> {
    let no_request = request.envelope().reply_to.is_none();
    if no_request || request.note().attempt > ATTEMPTS {
        request.discard()?;
        return Ok(false);
    }
    let reply = echo_of(request.datagram());
    request.reply(reply).await?;
    Ok(true)
}

/// The same datagram, as a reply.
fn echo_of(request: &Datagram) -> Datagram {
    let mut reply = request.clone();
    let envelope = reply.envelope_mut();
    (envelope.reply_to, envelope.correlation_id) = (None, None);
    reply
}

/// Accepts peers, and sends each what it sends.
pub(crate) async fn echo_peers(connection: &Connection, stop: &Stop) -> Outcome<Served> {
    let mut served = Served::default();
    let mut peers = JoinSet::new();
    loop {
        tokio::select! {
            biased;
            () = stop.raised() => break,
            Some(ended) = peers.join_next() => served.note_peer(ended),
            peer = connection.accept(), if peers.len() < PEERS => match peer? {
                Some(peer) => {
                    let stop = stop.clone();
                    peers.spawn(async move { dialog::echo(&peer, &stop).await });
                }
                None => break,
            },
        }
    }
    while let Some(ended) = peers.join_next().await {
        served.note_peer(ended);
    }
    Ok(served)
}

impl Served {
    fn note_peer(&mut self, ended: Result<Outcome<u64>, JoinError>) {
        match ended {
            Ok(Ok(answered)) => self.answered += answered,
            Ok(Err(failure)) => tell(&format!("a peer was not served to its end: {failure}")),
            Err(error) => tell(&format!("a peer was not served to its end: {error}")),
        }
    }
}
