//! One connection through the relay: two streams, and what is forwarded between them.

use std::future::pending;
use std::net::SocketAddr;
use std::ops::RangeInclusive;
use std::time::Duration;

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::net::tcp::{ReadHalf, WriteHalf};
use tokio::sync::watch;
use tokio::time::{sleep, timeout};

use super::{Controls, Cut, Plan, Shared, Way};

/// An accepted stream, the one that was dialled for it, and when they are to be cut.
pub(super) struct Conduit<'a> {
    near: TcpStream,
    far: TcpStream,
    shared: &'a Shared,
    controls: watch::Receiver<Controls>,
    /// Cuts that were made before it was accepted are not for it.
    born: u64,
    planned: Option<(Way, u64, Cut)>,
}

/// Bytes that are read at once.
const CHUNK: usize = 64 << 10;
/// How long an end that was told the end may take to close.
const LINGER: Duration = Duration::from_secs(5);

impl<'a> Conduit<'a> {
    /// Dials; `None` where that failed or the plan is to refuse, and `near` is reset.
    pub(super) async fn open(
        near: TcpStream,
        target: SocketAddr,
        shared: &'a Shared,
    ) -> Option<Self> {
        let controls = shared.controls.subscribe();
        let (born, plan) = {
            let now = controls.borrow();
            (now.cut.0, now.plan.clone())
        };
        let planned = match plan {
            Plan::Live => None,
            Plan::At { way, after, cut } => Some((way, after, cut)),
            Plan::Random { after, cuts } => {
                let way = if shared.draw(0..2) == 0 { Way::Up } else { Way::Down };
                let at = shared.draw(0..u64::try_from(cuts.len()).unwrap_or(0));
                let cut = usize::try_from(at).ok().and_then(|at| cuts.get(at));
                Some((way, shared.draw(after), cut.copied().unwrap_or(Cut::Reset)))
            }
            Plan::Refuse => {
                shared.count(|counts| counts.cuts += 1);
                reset(&near);
                return None;
            }
        };
        match TcpStream::connect(target).await {
            Ok(far) => Some(Self { near, far, shared, controls, born, planned }),
            Err(_) => {
                reset(&near);
                None
            }
        }
    }

    /// Forwards until both ends are done, or it is cut.
    pub(super) async fn run(mut self) {
        // Pieces go out as they are, and at once. Where a stream is gone already, reading it will tell.
        let _ = (self.near.set_nodelay(true), self.far.set_nodelay(true));
        let mut cutting = self.controls.clone();
        let (shared, born, planned) = (self.shared, self.born, self.planned);
        let ended = {
            let (near_in, near_out) = self.near.split();
            let (far_in, far_out) = self.far.split();
            let pump = |way, input, output| Pump {
                way,
                input,
                output,
                shared,
                controls: self.controls.clone(),
                left: planned.filter(|plan| plan.0 == way).map(|plan| (plan.1, plan.2)),
            };
            let (up, down) = (pump(Way::Up, near_in, far_out), pump(Way::Down, far_in, near_out));
            tokio::select! {
                // What comes after a cut is not forwarded.
                biased;
                cut = commanded(&mut cutting, |now| now.cut.0 > born) => Err(End::Cut(cut)),
                done = async { tokio::try_join!(up.run(), down.run()) } => done.map(drop),
            }
        };
        let mut cut = match ended {
            Ok(()) => return,
            Err(End::Broken) => return self.end(Cut::Reset).await,
            Err(End::Cut(cut)) => cut,
        };
        shared.count(|counts| counts.cuts += 1);
        if cut == Cut::Silence {
            let follows = |now: &Controls| now.cut.0 > born && now.cut.1 != Some(Cut::Silence);
            cut = tokio::select! {
                cut = commanded(&mut cutting, follows) => cut,
                () = read_out(&mut self.near, &mut self.far) => Cut::Finish,
            };
        }
        self.end(cut).await;
    }

    async fn end(mut self, cut: Cut) {
        if cut == Cut::Finish {
            // Closing with unread input would be a reset; so it is read until each end has closed too.
            let rest = async {
                let _ = tokio::join!(self.near.shutdown(), self.far.shutdown());
                read_out(&mut self.near, &mut self.far).await;
            };
            if timeout(LINGER, rest).await.is_ok() {
                return;
            }
        }
        reset(&self.near);
        reset(&self.far);
    }
}

/// Makes closing `stream` a reset.
fn reset(stream: &TcpStream) {
    // Fails only where it is closed already.
    let _ = stream.set_zero_linger();
}

/// Reads both until each has closed, and forgets what they say.
async fn read_out(near: &mut TcpStream, far: &mut TcpStream) {
    async fn one(stream: &mut TcpStream) {
        let mut rest = [0; 4096];
        while matches!(stream.read(&mut rest).await, Ok(1..)) {}
    }
    tokio::join!(one(near), one(far));
}

/// The cut of the first controls that are `for_us`.
async fn commanded(
    controls: &mut watch::Receiver<Controls>,
    for_us: impl FnMut(&Controls) -> bool,
) -> Cut {
    let cut = controls.wait_for(for_us).await.map(|now| now.cut.1);
    match cut {
        Ok(cut) => cut.unwrap_or(Cut::Reset),
        // The relay is going, and takes this task with it.
        Err(_) => pending().await,
    }
}

/// Why a connection does not go on.
enum End {
    Cut(Cut),
    /// An end has reset it.
    Broken,
}

/// Forwards one way.
struct Pump<'a> {
    way: Way,
    input: ReadHalf<'a>,
    output: WriteHalf<'a>,
    shared: &'a Shared,
    controls: watch::Receiver<Controls>,
    /// Bytes until the planned cut.
    left: Option<(u64, Cut)>,
}

impl Pump<'_> {
    /// Until the end of the input, which it passes on; else how the connection ends.
    async fn run(mut self) -> Result<(), End> {
        let mut chunk = vec![0; CHUNK];
        loop {
            if let Some((0, cut)) = self.left {
                return Err(End::Cut(cut));
            }
            let read = self.input.read(&mut chunk).await.map_err(|_| End::Broken)?;
            let delay = self.controls.borrow().delay;
            if !delay.is_zero() {
                sleep(delay).await;
            }
            self.thawed().await;
            if read == 0 {
                // Where the other end is gone too, its own way tells.
                let _ = self.output.shutdown().await;
                return Ok(());
            }
            self.forward(&chunk[..read]).await?;
        }
    }

    async fn thawed(&mut self) {
        let way = self.way.index();
        let is_gone = self.controls.wait_for(|now| !now.frozen[way]).await.is_err();
        if is_gone {
            pending::<()>().await;
        }
    }

    async fn forward(&mut self, mut bytes: &[u8]) -> Result<(), End> {
        if let Some((left, _)) = &mut self.left {
            let allowed = usize::try_from(*left).unwrap_or(usize::MAX).min(bytes.len());
            bytes = &bytes[..allowed];
            *left -= u64::try_from(allowed).unwrap_or(0);
        }
        while !bytes.is_empty() {
            self.thawed().await;
            let sizes = self.controls.borrow().slice.clone();
            let size = sizes.map_or(bytes.len(), |sizes| self.piece(sizes).min(bytes.len()));
            let (piece, rest) = bytes.split_at(size);
            self.output.write_all(piece).await.map_err(|_| End::Broken)?;
            self.count(piece.len());
            bytes = rest;
        }
        Ok(())
    }

    fn piece(&self, sizes: RangeInclusive<usize>) -> usize {
        let bound = |size: usize| u64::try_from(size).unwrap_or(u64::MAX);
        let size = self.shared.draw(bound(*sizes.start())..bound(*sizes.end()).saturating_add(1));
        usize::try_from(size).unwrap_or(usize::MAX)
    }

    fn count(&self, bytes: usize) {
        let bytes = u64::try_from(bytes).unwrap_or(0);
        self.shared.count(|counts| match self.way {
            Way::Up => counts.up += bytes,
            Way::Down => counts.down += bytes,
        });
    }
}
