//! `seam send`: from lines to receipts.

use std::cell::RefCell;
use std::collections::VecDeque;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use seam_core::{
    Batch, Connection, Error, Fate, Receipts, Registry, SendError, Sender, Side, Ticket,
};
use tokio::io::AsyncRead;

use crate::args::{self, duration};
use crate::failure::{Failure, Outcome};
use crate::fields::Fields;
use crate::input::{self, Lines};
use crate::pace::Pace;
use crate::source::{Form, Source};
use crate::stop::Stop;
use crate::tally::{self, Summary, Tally};

/// Send lines, files or envelopes, each as one datagram
///
/// Without --file and --lines, each line of standard input is one datagram, without its line break. What
/// comes slowly goes out at once; what comes fast goes out in batches.
#[derive(Debug, clap::Args)]
#[command(after_help = EXAMPLES)]
pub(crate) struct SendArgs {
    /// Where to send, such as tcp://127.0.0.1:7420/orders.
    pub(crate) uri: String,

    /// Take lines from FILE instead of standard input.
    #[arg(long, value_name = "FILE", conflicts_with = "file")]
    lines: Option<PathBuf>,

    /// Send the whole of FILE as one datagram [`-`: all of standard input].
    #[arg(long, value_name = "FILE", conflicts_with_all = ["json", "key_field", "count", "rate"])]
    file: Option<PathBuf>,

    /// Each line is an envelope as `receive --json` and `--failed` write it.
    #[arg(long, conflicts_with_all = ["key", "headers", "kind", "tag", "key_field"])]
    json: bool,

    /// Each line is a JSON object, and its field NAME the key.
    #[arg(long, value_name = "NAME", conflicts_with = "key")]
    key_field: Option<String>,

    #[command(flatten)]
    fields: Fields,

    /// End after N datagrams.
    #[arg(long, value_name = "N")]
    count: Option<u64>,

    /// Send at most R datagrams per second, such as 100 or 0.5.
    #[arg(long, value_name = "R", value_parser = args::rate)]
    rate: Option<Duration>,

    /// At the end, wait so long until everything is done.
    #[arg(long, value_name = "DURATION", value_parser = duration, default_value = "30s")]
    drain: Duration,

    /// Write what failed to FILE, as envelopes with `fate` and `error`, for `send --json`.
    ///
    /// Where the endpoint takes nothing any more, the rest of the input goes there too.
    #[arg(long, value_name = "FILE")]
    failed: Option<PathBuf>,
}

const EXAMPLES: &str = "\
Examples:
  seam send tcp://127.0.0.1:7420/orders < orders.jsonl
  seam send tcp://127.0.0.1:7420/orders --lines orders.jsonl --failed failed.jsonl
  seam send tcp://127.0.0.1:7420/orders --json --lines failed.jsonl
  seam send tcp://127.0.0.1:7420/orders --key-field customer --rate 100 < orders.jsonl
  echo hello | seam send tcp://127.0.0.1:7420/orders --key k --header source=shell
  seam send tcp://127.0.0.1:7420/images --file photo.jpg --kind image/jpeg

Exit code 0: every datagram has its receipt and the drain left nothing; where the endpoint keeps nothing \
(no `Store`), a receiver has settled each. 1: one line says what failed. 2: wrong usage.

A line that is too long or no JSON ends it with its number N. Nothing from that line on is sent, so \
`tail -n +N` goes on there. Of what failed, \"not sent\" is a proof that nobody has it; \"maybe sent\" may have \
arrived.";

/// Opens files and the endpoint, then sends.
pub(crate) async fn send(registry: &Registry, args: &SendArgs, stop: &Stop) -> Outcome {
    registry.check(args.uri.as_str(), Side::Client)?;
    let path = args.file.as_deref().or(args.lines.as_deref());
    let input = input::open(path).await?;
    let failed = match args.failed.clone() {
        Some(failed) => Some(tally::open_failed(failed, path.map(Path::to_owned)).await?),
        None => None,
    };
    let (summary, outcome) = send_from(registry, args, input, Tally::new(failed), stop).await;
    if let Some(summary) = summary {
        crate::run::tell(&summary);
    }
    outcome
}

/// Sends what `input` has; what was sent, once the endpoint was open.
pub(crate) async fn send_from<R: AsyncRead + Unpin>(
    registry: &Registry,
    args: &SendArgs,
    input: R,
    tally: Tally,
    stop: &Stop,
) -> (Option<Summary>, Outcome) {
    let opened = async {
        let connection = args::unless_stopped(stop, registry.client(args.uri.as_str())).await?;
        args.fields.require(&connection, args.key_field.is_some())?;
        let sender = connection.sender().await?;
        let source = args.source(input, &connection).await?;
        Ok((connection, sender, source))
    };
    let (connection, sender, mut source) = match opened.await {
        Ok(opened) => opened,
        Err(failure) => return (None, Err(failure)),
    };
    let begun = Instant::now();
    let tally = RefCell::new(tally);
    let mut sending = Sending::new(sender, &tally, Pace::new(args.rate));
    let sent = tokio::select! {
        sent = sending.send_all(&mut source, stop) => sent,
        never = take_returned(&connection, &tally) => match never {},
    };
    drop(sending);
    let drained = drain(&connection, args.drain, &tally).await;
    let mut tally = tally.into_inner();
    // What could not be kept is told first: it is lost with this process.
    let outcome = tally.complete().and(sent).and(drained).and(tally.outcome());
    (Some(tally.summary(begun.elapsed())), outcome)
}

impl SendArgs {
    async fn source<R: AsyncRead + Unpin>(
        &self,
        input: R,
        connection: &Connection,
    ) -> Outcome<Source<R>> {
        let limits = connection.capabilities().limits();
        let template = self.fields.template();
        if self.file.is_some() {
            let name = input::name_of(self.file.as_deref());
            let payload = input::read_whole(input, &name, limits.payload).await?;
            return Ok(Source::one(payload, template));
        }
        let form = match &self.key_field {
            _ if self.json => Form::Envelope,
            Some(field) => Form::Keyed(field.clone()),
            None => Form::Payload,
        };
        let longest = form.longest_line(limits);
        let lines = Lines::new(input, input::name_of(self.lines.as_deref()), longest);
        Ok(Source::lines(lines, form, template, limits.payload, self.count))
    }
}

/// Datagrams of a batch at most.
const BATCH: usize = 256;
/// Bytes after which a batch goes out.
const BATCH_BYTES: usize = 64 << 10;
/// Tickets whose receipts are outstanding at most.
const OPEN: usize = 32;

/// Batches under way.
struct Sending<'a> {
    sender: Sender,
    tally: &'a RefCell<Tally>,
    pace: Pace,
    batch: Batch,
    /// In order of admission, each with the number of its first datagram, from 1.
    open: VecDeque<(u64, Ticket)>,
    next: u64,
}

impl<'a> Sending<'a> {
    fn new(sender: Sender, tally: &'a RefCell<Tally>, pace: Pace) -> Self {
        Self { sender, tally, pace, batch: Batch::new(), open: VecDeque::new(), next: 1 }
    }

    /// Sends everything, and waits for every receipt.
    async fn send_all<R: AsyncRead + Unpin>(
        &mut self,
        source: &mut Source<R>,
        stop: &Stop,
    ) -> Outcome {
        let sent = self.send_until_end(source, stop).await;
        while !self.open.is_empty() {
            self.take_oldest().await;
        }
        sent
    }

    async fn send_until_end<R: AsyncRead + Unpin>(
        &mut self,
        source: &mut Source<R>,
        stop: &Stop,
    ) -> Outcome {
        loop {
            let more = self.fill(source, stop).await;
            // What was read before a bad line is sent.
            if let Err(error) = self.admit().await {
                self.give_up(source, &error, stop).await?;
                return Ok(());
            }
            if !more? {
                return Ok(());
            }
        }
    }

    /// Fills the batch with what is there, at least one; takes receipts while it waits. `false` at the end.
    async fn fill<R: AsyncRead + Unpin>(
        &mut self,
        source: &mut Source<R>,
        stop: &Stop,
    ) -> Outcome<bool> {
        loop {
            let Self { batch, pace, open, .. } = self;
            tokio::select! {
                biased;
                () = stop.raised() => return Err(interrupted(source)),
                more = fill(batch, pace, source) => return more,
                receipts = oldest(open), if !open.is_empty() => self.take(&receipts),
            }
        }
    }

    /// Admits the batch.
    async fn admit(&mut self) -> Result<(), Error> {
        while self.open.len() >= OPEN {
            self.take_oldest().await;
        }
        if self.batch.is_empty() {
            return Ok(());
        }
        let bytes = self.batch.views().map(|view| view.payload().map_or(0, <[u8]>::len)).sum();
        self.tally.borrow_mut().take(self.batch.len(), bytes);
        let admitted = self.sender.admit(&mut self.batch).await;
        let (ticket, refused) = match admitted {
            Ok(ticket) => (ticket, None),
            Err(error) => {
                let unsent = self.batch.take_unsent();
                // Empty now, but for the ticket of what was admitted before.
                let ticket = self.sender.try_admit(&mut self.batch)?;
                (ticket, Some((unsent, error)))
            }
        };
        let after = self.next + u64::from(ticket.len());
        self.open.push_back((self.next, ticket));
        self.next = after;
        let Some((unsent, error)) = refused else { return Ok(()) };
        for datagram in unsent {
            self.fail(&SendError::new(datagram, Fate::NotSent, error.clone()));
        }
        Err(error)
    }

    /// The endpoint takes nothing any more: the rest of the input goes where failures go, if they go anywhere.
    async fn give_up<R: AsyncRead + Unpin>(
        &mut self,
        source: &mut Source<R>,
        error: &Error,
        stop: &Stop,
    ) -> Outcome {
        if !self.tally.borrow().keeps() {
            let place = source.place();
            return Err(Failure::new(format!("stopped {place}: {error}")));
        }
        self.tally.borrow_mut().flush();
        while let Some(next) = stop.or(source.next()).await {
            let Some(datagram) = next? else { return Ok(()) };
            let bytes = datagram.payload().map_or(0, <[u8]>::len);
            self.tally.borrow_mut().take(1, bytes);
            self.fail(&SendError::new(datagram, Fate::NotSent, error.clone()));
        }
        Err(interrupted(source))
    }

    async fn take_oldest(&mut self) {
        let receipts = oldest(&mut self.open).await;
        self.take(&receipts);
    }

    /// Notes the receipts of the oldest ticket.
    fn take(&mut self, receipts: &Receipts) {
        let Some((first, _)) = self.open.pop_front() else { return };
        let mut tally = self.tally.borrow_mut();
        for (place, error) in receipts.failed() {
            tally.fail(error, || format!("datagram {}: {error}", first + u64::from(*place)));
        }
        if !receipts.all_ok() {
            tally.flush();
        }
    }

    /// Notes the next one as failed.
    fn fail(&mut self, error: &SendError) {
        let number = self.next;
        self.next += 1;
        self.tally.borrow_mut().fail(error, || format!("datagram {number}: {error}"));
    }
}

/// Fills `batch` with what is there, at least one. Dropping it loses nothing.
async fn fill<R: AsyncRead + Unpin>(
    batch: &mut Batch,
    pace: &mut Pace,
    source: &mut Source<R>,
) -> Outcome<bool> {
    let most = pace.due().await.min(BATCH);
    let mut next = source.next().await?;
    let mut taken = 0;
    // No call waits from here on, so that nothing taken from the source can be dropped with this one.
    while let Some(datagram) = next {
        batch.push(datagram);
        taken += 1;
        if taken == most || batch.bytes() >= BATCH_BYTES {
            pace.took(taken);
            return Ok(true);
        }
        next = match source.ready() {
            Some(ready) => ready?,
            None => {
                pace.took(taken);
                return Ok(true);
            }
        };
    }
    Ok(false)
}

/// The receipts of the oldest ticket, which stays. Dropping it keeps them.
async fn oldest(open: &mut VecDeque<(u64, Ticket)>) -> Receipts {
    match open.front_mut() {
        Some((_, ticket)) => ticket.receipts().await,
        None => Receipts::default(),
    }
}

/// Notes what a lost session gives back, for as long as it is polled.
async fn take_returned(
    connection: &Connection,
    tally: &RefCell<Tally>,
) -> std::convert::Infallible {
    while let Some(error) = connection.returned().await {
        tally.borrow_mut().fail(&error, || format!("given back: {error}"));
    }
    std::future::pending().await
}

fn interrupted<R: AsyncRead + Unpin>(source: &Source<R>) -> Failure {
    let place = source.place();
    Failure::new(format!("stopped by a signal {place}, before the end of the input"))
}

/// Waits until everything is done, and notes what is not.
async fn drain(connection: &Connection, limit: Duration, tally: &RefCell<Tally>) -> Outcome {
    let drained = connection.drain(limit).await?;
    let mut tally = tally.borrow_mut();
    for error in &drained.unsent {
        let told = || {
            format!(
                "not done within {limit:?} (see --drain, and whether a receiver is there): {error}"
            )
        };
        tally.fail(error, told);
    }
    Ok(())
}
