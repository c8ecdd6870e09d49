//! The same work over plain channels.

use std::hint::black_box;
use std::time::{Duration, Instant};

use bytes::Bytes;
use futures_util::future::join_all;
use tokio::sync::mpsc;

use crate::measure::{self, Sample};

const CAPACITY: usize = 1024;

/// A message as a program would put it into a channel: in place where it is small, else shared bytes.
#[derive(Debug)]
enum Message {
    Small([u8; 64]),
    Large(Bytes),
}

impl Message {
    fn new(payload: &[u8]) -> Self {
        match <[u8; 64]>::try_from(payload) {
            Ok(small) => Self::Small(small),
            Err(_) => Self::Large(Bytes::copy_from_slice(payload)),
        }
    }

    fn payload(&self) -> &[u8] {
        match self {
            Self::Small(payload) => payload,
            Self::Large(payload) => payload,
        }
    }
}

pub(crate) fn tokio(count: u32, size: usize) -> Sample {
    measure::run(count, async move {
        let (sender, mut receiver) = mpsc::channel::<Message>(CAPACITY);
        let sending = tokio::spawn(async move {
            let payload = vec![7; size];
            for _ in 0..count {
                sender.send(Message::new(black_box(&payload))).await.expect("it is received");
            }
        });
        let receiving = tokio::spawn(async move {
            while let Some(message) = receiver.recv().await {
                black_box(message.payload());
            }
        });
        sending.await.expect("it sends");
        receiving.await.expect("it receives");
    })
}

pub(crate) fn flume(tasks: u32, count: u32, size: usize) -> Sample {
    measure::run(count, async move {
        let (sender, receiver) = flume::bounded::<Message>(CAPACITY);
        let sending = (0..tasks).map(|_| {
            let sender = sender.clone();
            tokio::spawn(async move {
                let payload = vec![7; size];
                for _ in 0..count / tasks {
                    let message = Message::new(black_box(&payload));
                    sender.send_async(message).await.expect("it is received");
                }
            })
        });
        let receiving = (0..tasks).map(|_| {
            let receiver = receiver.clone();
            tokio::spawn(async move {
                while let Ok(message) = receiver.recv_async().await {
                    black_box(message.payload());
                }
            })
        });
        let tasks: Vec<_> = sending.chain(receiving).collect();
        drop(sender);
        for task in join_all(tasks).await {
            task.expect("it runs to its end");
        }
    })
}

/// The middle of the times that a message takes to another task and back.
pub(crate) fn two_hops(count: u32) -> Duration {
    measure::runtime().block_on(async {
        let (ask, mut asked) = mpsc::channel::<Message>(CAPACITY);
        let (answer, mut answered) = mpsc::channel::<Message>(CAPACITY);
        let server = tokio::spawn(async move {
            while let Some(message) = asked.recv().await {
                answer.send(message).await.expect("somebody asks");
            }
        });
        let client = tokio::spawn(async move {
            let mut times = Vec::new();
            for _ in 0..count {
                let start = Instant::now();
                ask.send(Message::new(&[7; 64])).await.expect("somebody answers");
                black_box(answered.recv().await.expect("an answer").payload());
                times.push(start.elapsed());
            }
            measure::median(times)
        });
        let median = client.await.expect("it asks");
        server.await.expect("it answers");
        median
    })
}
