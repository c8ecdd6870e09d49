//! Where a case is played: a folder for the books, and the processes that act.

use std::fs::File;
use std::net::{Ipv4Addr, SocketAddr};
use std::path::Path;
use std::time::{Duration, Instant};

use integration_tests::actors::{Books, Consumer, Producer, Role, Said, Summary};
use integration_tests::{Process, Scale, Usage, Voice};
use seam_conformance::free_port;
use seam_conformance::ledger::Report;
use tempfile::TempDir;
use tokio::process::Command;
use tokio::sync::{Mutex, MutexGuard, watch};
use tokio::task::JoinHandle;
use tokio::time::timeout;

/// Cases take turns, so that each has the machine to itself.
static TURN: Mutex<()> = Mutex::const_new(());

/// A folder for the books of one case, and its turn.
pub(super) struct Stage {
    folder: TempDir,
    _turn: MutexGuard<'static, ()>,
}

impl Stage {
    pub(super) async fn new() -> Self {
        let turn = TURN.lock().await;
        Self { folder: tempfile::tempdir().unwrap(), _turn: turn }
    }

    pub(super) fn folder(&self) -> &Path {
        self.folder.path()
    }

    pub(super) fn producer(&self, uri: &str, name: &str, messages: u64) -> Producer {
        Producer::new(uri, self.folder(), name, messages)
    }

    pub(super) fn consumer(&self, uri: &str, name: &str) -> Consumer {
        Consumer::new(uri, self.folder(), name)
    }

    pub(super) async fn produce(&self, producer: Producer) -> Player {
        self.enter(actor(), &Role::Produce(producer)).await
    }

    pub(super) async fn consume(&self, consumer: Consumer) -> Player {
        self.enter(actor(), &Role::Consume(consumer)).await
    }

    /// Starts `command`, a program `actor`, in this role; it is ready.
    pub(super) async fn enter(&self, mut command: Command, role: &Role) -> Player {
        command.arg(serde_json::to_string(role).unwrap());
        let complaints = File::options().create(true).append(true).open(self.complaints()).unwrap();
        command.stderr(complaints);
        let mut process = Process::spawn(command).unwrap();
        let voice = process.take_voice().unwrap();
        let (heard, hearing) = watch::channel(Heard::default());
        let player =
            Player { process, heard: hearing, _listening: tokio::spawn(listen(voice, heard)) };
        player.until(patience(), |heard| heard.idle.is_some()).await;
        player
    }

    /// What the books come to. Nobody may have panicked.
    pub(super) fn check(&self) -> Report {
        let complaints = std::fs::read_to_string(self.complaints()).unwrap();
        assert!(!complaints.contains("panicked"), "{complaints}");
        Books::new(self.folder()).check().unwrap()
    }

    /// Waits until all that has a receipt was delivered, and all that was delivered settled.
    #[cfg(any(feature = "kafka", feature = "rabbitmq", feature = "sqs"))]
    pub(super) async fn settled(&self) {
        self.until(|report| (report.lost, report.unsettled) == (0, 0)).await;
    }

    /// Waits until the books are as `are` says.
    #[cfg(any(feature = "kafka", feature = "rabbitmq", feature = "sqs"))]
    pub(super) async fn until(&self, are: impl Fn(&Report) -> bool) {
        let until = Instant::now() + patience();
        loop {
            let report = self.check();
            if are(&report) {
                return;
            }
            assert!(Instant::now() < until, "{report}");
            tokio::time::sleep(Duration::from_millis(100)).await;
        }
    }

    fn complaints(&self) -> std::path::PathBuf {
        self.folder.path().join("complaints.txt")
    }
}

/// The program `actor`.
pub(super) fn actor() -> Command {
    Command::new(env!("CARGO_BIN_EXE_actor"))
}

/// Longer than anything here takes.
pub(super) fn patience() -> Duration {
    Scale::of_environment().pick(Duration::from_secs(120), Duration::from_secs(3600))
}

/// An address of this machine at which nobody listens.
pub(super) fn free_address() -> SocketAddr {
    SocketAddr::from((Ipv4Addr::LOCALHOST, free_port()))
}

/// A process that acts.
pub(super) struct Player {
    process: Process,
    heard: watch::Receiver<Heard>,
    _listening: JoinHandle<()>,
}

/// Everything that it has said.
#[derive(Clone, Debug, Default)]
pub(super) struct Heard {
    /// What it held before any work.
    pub(super) idle: Option<Usage>,
    /// So many messages have their receipt, or were settled.
    pub(super) at: u64,
    /// When it was disconnected, each time.
    pub(super) disconnected: Vec<Instant>,
    /// When it was connected again, each time.
    pub(super) connected: Vec<Instant>,
    /// When the other side accepted nothing, each time, and when it did again.
    pub(super) blocked: Vec<Instant>,
    pub(super) unblocked: Vec<Instant>,
    /// Datagrams unsettled in the sessions that it lost.
    pub(super) lost: Vec<u64>,
    pub(super) done: Option<Summary>,
    ended: bool,
}

async fn listen(mut voice: Voice, heard: watch::Sender<Heard>) {
    while let Ok(Some(line)) = voice.next_line().await {
        let said: Said = serde_json::from_str(&line).unwrap();
        heard.send_modify(|heard| match said {
            Said::Ready(usage) => heard.idle = Some(usage),
            Said::At(messages) => heard.at = messages,
            Said::Disconnected => heard.disconnected.push(Instant::now()),
            Said::Connected => heard.connected.push(Instant::now()),
            Said::Blocked => heard.blocked.push(Instant::now()),
            Said::Unblocked => heard.unblocked.push(Instant::now()),
            Said::SessionLost { unsettled, .. } => heard.lost.push(unsettled),
            Said::Done(summary) => heard.done = Some(summary),
        });
    }
    heard.send_modify(|heard| heard.ended = true);
}

impl Player {
    /// Waits until what it said is `enough`.
    pub(super) async fn until(&self, within: Duration, enough: impl Fn(&Heard) -> bool) -> Heard {
        let mut heard = self.heard.clone();
        let found = timeout(within, heard.wait_for(|heard| enough(heard) || heard.ended)).await;
        let found = found.map(|found| found.map(|heard| heard.clone()));
        match found {
            Ok(Ok(heard)) if enough(&heard) => heard,
            Ok(_) => panic!("it has ended: {:?}", self.heard()),
            Err(_) => panic!("{within:?} were not enough: {:?}", self.heard()),
        }
    }

    pub(super) fn heard(&self) -> Heard {
        self.heard.borrow().clone()
    }

    /// Waits until it has drained and ended by itself, well.
    pub(super) async fn done(mut self) -> Finished {
        let heard = self.until(patience(), |heard| heard.done.is_some()).await;
        assert!(self.process.exit(patience()).await.unwrap().success());
        Finished::new(heard)
    }

    /// Tells it to end, and waits until it has.
    pub(super) async fn stop(self) -> Finished {
        self.process.terminate().unwrap();
        self.done().await
    }

    pub(super) async fn kill(mut self) -> Heard {
        self.process.kill().await.unwrap();
        self.heard()
    }

    pub(super) fn process(&self) -> &Process {
        &self.process
    }

    /// Waits until it has as many descriptors as `before`.
    pub(super) async fn until_descriptors_are(&self, before: usize) {
        let deadline = Instant::now() + patience();
        loop {
            let now = self.process.usage().unwrap().descriptors;
            if now == before {
                return;
            }
            assert!(Instant::now() < deadline, "{before} descriptors before, {now} now");
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
    }
}

/// What a process that has ended by itself did.
pub(super) struct Finished {
    pub(super) heard: Heard,
    pub(super) summary: Summary,
}

impl Finished {
    fn new(heard: Heard) -> Self {
        let summary = heard.done.clone().unwrap();
        Self { heard, summary }
    }

    /// Bytes of memory at the peak, above idle.
    pub(super) fn rss(&self) -> u64 {
        self.summary.usage.peak.saturating_sub(self.heard.idle.unwrap_or_default().resident)
    }
}
