//! The work over `memory://`.

use std::collections::VecDeque;
use std::hint::black_box;
use std::time::{Duration, Instant};

use futures_util::future::join_all;
use seam_core::{
    Batch, Clock, Datagram, Deliveries, Memory, Receiver, Registry, Sender, Sleep, SystemClock,
    Timestamp,
};

use crate::measure::{self, Sample};

/// How messages go in and come out.
#[derive(Clone, Copy, PartialEq)]
pub(crate) enum Mode {
    /// Copied into a batch; lent, and each settled on its own.
    Lent,
    /// Datagrams in, owned deliveries out.
    Owned,
}

/// Tokio's timers under the clock of the system.
#[derive(Debug)]
struct TokioClock(SystemClock);

impl Clock for TokioClock {
    fn now(&self) -> Duration {
        self.0.now()
    }

    fn wall(&self) -> Timestamp {
        self.0.wall()
    }

    fn sleep(&self, duration: Duration) -> Sleep {
        Box::pin(tokio::time::sleep(duration))
    }
}

/// Datagrams and bytes of a batch, as a feeding sender gathers them.
const BATCH: usize = 256;
const BATCH_BYTES: usize = 256 << 10;
/// Tickets whose receipts are asked for later.
const OPEN: usize = 4;
const URI: &str = "memory://bench";
const PATIENCE: Duration = Duration::from_secs(60);

pub(crate) fn registry() -> Registry {
    Registry::new().with(Memory::new()).with_clock(TokioClock(SystemClock::new()))
}

pub(crate) fn run(tasks: u32, count: u32, size: usize, mode: Mode) -> Sample {
    measure::run(count, async move {
        let registry = registry();
        let server = registry.server(URI).await.expect("it opens");
        let client = registry.client(URI).await.expect("it opens");
        let (mut sending, mut receiving) = (Vec::new(), Vec::new());
        for _ in 0..tasks {
            let receiver = server.receiver().await.expect("it receives");
            receiving.push(tokio::spawn(receive(receiver, mode)));
        }
        for _ in 0..tasks {
            let sender = client.sender().await.expect("it sends");
            sending.push(tokio::spawn(send(sender, count / tasks, size, mode)));
        }
        join_all(sending).await.into_iter().for_each(|task| task.expect("it sends"));
        assert!(client.drain(PATIENCE).await.expect("it drains").is_clean(), "all is done");
        assert!(server.drain(PATIENCE).await.expect("it drains").is_clean(), "all is settled");
        let received = join_all(receiving).await.into_iter().map(|task| task.expect("it receives"));
        assert_eq!(received.sum::<u32>(), count / tasks * tasks);
    })
}

async fn send(sender: Sender, count: u32, size: usize, mode: Mode) {
    let payload = vec![7; size];
    let (mut batch, mut open) = (Batch::new(), VecDeque::new());
    let mut left = usize::try_from(count).expect("it fits");
    while left > 0 {
        let next = left.min(BATCH).min(BATCH_BYTES / size);
        left -= next;
        for _ in 0..next {
            match mode {
                Mode::Lent => batch.push_bytes(0, black_box(&payload)),
                Mode::Owned => batch.push(Datagram::copy_from(0, black_box(&payload))),
            }
        }
        open.push_back(sender.admit(&mut batch).await.expect("it is admitted"));
        if open.len() > OPEN {
            let oldest = open.pop_front().map(|mut ticket| async move { ticket.receipts().await });
            assert!(oldest.expect("one is open").await.all_ok());
        }
    }
    for mut ticket in open {
        assert!(ticket.receipts().await.all_ok());
    }
}

async fn receive(mut receiver: Receiver, mode: Mode) -> u32 {
    let (mut deliveries, mut count) = (Deliveries::new(), 0);
    while receiver.receive(BATCH, &mut deliveries).await.expect("it receives") {
        while let Some(lent) = deliveries.lend() {
            count += 1;
            if mode == Mode::Lent {
                black_box(lent.view().payload());
                lent.ack();
            } else {
                let delivery = lent.take();
                black_box(delivery.view().payload());
                delivery.ack().expect("it is ours");
            }
        }
        deliveries.publish();
    }
    count
}

/// The middle of the times that a request and its reply take.
pub(crate) fn requests(count: u32) -> Duration {
    measure::runtime().block_on(async {
        let registry = registry();
        let server = registry.server(URI).await.expect("it opens");
        let client = registry.client(URI).await.expect("it opens");
        let mut receiver = server.receiver().await.expect("it receives");
        let serving = tokio::spawn(async move {
            while let Some(request) = receiver.next().await.expect("it receives") {
                let reply = Datagram::copy_from(0, request.view().payload().unwrap_or_default());
                request.reply(reply).await.expect("somebody asks");
            }
        });
        let asking = client.clone();
        let median = tokio::spawn(async move {
            let mut times = Vec::new();
            for _ in 0..count {
                let start = Instant::now();
                let request = Datagram::copy_from(0, &[7; 64]);
                black_box(asking.request(request, PATIENCE).await.expect("a reply").payload());
                times.push(start.elapsed());
            }
            measure::median(times)
        });
        let median = median.await.expect("it asks");
        assert!(server.drain(PATIENCE).await.expect("it drains").is_clean());
        serving.await.expect("it serves");
        median
    })
}
