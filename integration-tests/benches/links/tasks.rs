//! Many tasks, each awaiting every one of its sends, through a channel to a bare writer task; and the count
//! that tasks share.

use std::collections::VecDeque;
use std::io;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, PoisonError};

use bytes::Bytes;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::tcp::{OwnedReadHalf, OwnedWriteHalf};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::{mpsc, oneshot};
use tokio::task::JoinSet;

use crate::job::Job;
use crate::meter::Meter;

/// Counts what many tasks do.
#[derive(Clone)]
pub(crate) struct Count(Arc<Shared>);

struct Shared {
    messages: AtomicUsize,
    is_over: AtomicBool,
    meter: Mutex<Meter>,
}

/// Messages between two looks at the clock.
const BURST: usize = 64;

impl Count {
    pub(crate) fn new(meter: Meter) -> Self {
        let (messages, is_over) = (AtomicUsize::new(0), AtomicBool::new(false));
        Self(Arc::new(Shared { messages, is_over, meter: Mutex::new(meter) }))
    }

    /// One message was acknowledged. `false` once the time is up.
    pub(crate) fn add(&self) -> bool {
        if self.0.messages.fetch_add(1, Ordering::Relaxed) % BURST == BURST - 1 {
            let mut meter = self.0.meter.lock().unwrap_or_else(PoisonError::into_inner);
            if !meter.add(BURST) {
                self.0.is_over.store(true, Ordering::Relaxed);
            }
        }
        !self.0.is_over.load(Ordering::Relaxed)
    }

    /// Gives the meter back, once all tasks have ended.
    pub(crate) fn into_meter(self) -> Meter {
        let shared = Arc::into_inner(self.0).expect("all tasks have ended");
        shared.meter.into_inner().unwrap_or_else(PoisonError::into_inner)
    }
}

/// One message on its way to the writer, and who waits for it.
type Item = (Bytes, oneshot::Sender<()>);
/// Who waits for what was written, in that order.
type Waiting = Arc<Mutex<VecDeque<oneshot::Sender<()>>>>;

const CHANNEL: usize = 1024;
const HEADER: usize = 8;

pub(crate) async fn send(job: &Job, tasks: usize, meter: Meter) -> io::Result<Meter> {
    let socket = TcpStream::connect(job.spot.address).await?;
    socket.set_nodelay(true)?;
    let (reader, writer) = socket.into_split();
    let (sender, receiver) = mpsc::channel::<Item>(CHANNEL);
    let waiting = Waiting::default();
    let writing = tokio::spawn(write(writer, receiver, waiting.clone()));
    let reading = tokio::spawn(acknowledge(reader, waiting));
    let count = Count::new(meter);
    let payload = Bytes::from(vec![7; job.size]);
    let mut sending = JoinSet::new();
    for _ in 0..tasks {
        let (sender, count, payload) = (sender.clone(), count.clone(), payload.clone());
        sending.spawn(async move {
            loop {
                let (done, acknowledged) = oneshot::channel();
                sender.send((payload.clone(), done)).await.expect("the writer lives");
                acknowledged.await.expect("the peer acknowledges");
                if !count.add() {
                    break;
                }
            }
        });
    }
    sending.join_all().await;
    drop(sender);
    writing.await??;
    reading.await??;
    Ok(count.into_meter())
}

async fn write(
    mut socket: OwnedWriteHalf,
    mut receiver: mpsc::Receiver<Item>,
    waiting: Waiting,
) -> io::Result<()> {
    let (mut items, mut buffer) = (Vec::new(), Vec::new());
    while receiver.recv_many(&mut items, CHANNEL).await > 0 {
        buffer.clear();
        {
            let mut waiting = waiting.lock().unwrap_or_else(PoisonError::into_inner);
            for (payload, done) in items.drain(..) {
                let length = u64::try_from(payload.len()).expect("it fits");
                buffer.extend_from_slice(&length.to_le_bytes());
                buffer.extend_from_slice(&payload);
                waiting.push_back(done);
            }
        }
        socket.write_all(&buffer).await?;
    }
    socket.shutdown().await
}

/// Tells those who wait: the peer says how many it has, in all.
async fn acknowledge(mut socket: OwnedReadHalf, waiting: Waiting) -> io::Result<()> {
    let (mut told, mut number) = (0, [0; HEADER]);
    while let Some(received) = next(&mut socket, &mut number).await? {
        let mut waiting = waiting.lock().unwrap_or_else(PoisonError::into_inner);
        for done in waiting.drain(..received - told) {
            done.send(()).expect("a task waits");
        }
        told = received;
    }
    Ok(())
}

async fn next(socket: &mut OwnedReadHalf, number: &mut [u8; HEADER]) -> io::Result<Option<usize>> {
    match socket.read_exact(number).await {
        Ok(_) => usize::try_from(u64::from_le_bytes(*number)).map(Some).map_err(io::Error::other),
        Err(error) if error.kind() == io::ErrorKind::UnexpectedEof => Ok(None),
        Err(error) => Err(error),
    }
}

pub(crate) async fn receive(job: &Job, meter: &mut Meter, ready: impl FnOnce()) -> io::Result<()> {
    let listener = TcpListener::bind(job.spot.address).await?;
    ready();
    let (mut socket, _) = listener.accept().await?;
    socket.set_nodelay(true)?;
    let frame = HEADER + job.size;
    let mut buffer = vec![0; 256 << 10];
    let (mut end, mut received) = (0, 0u64);
    loop {
        let read = socket.read(&mut buffer[end..]).await?;
        if read == 0 {
            return Ok(());
        }
        end += read;
        let messages = end / frame;
        buffer.copy_within(messages * frame..end, 0);
        end -= messages * frame;
        received += u64::try_from(messages).expect("it fits");
        socket.write_all(&received.to_le_bytes()).await?;
        meter.add(messages);
    }
}
