//! What is run, and what is said of it.

use std::io;
use std::time::Duration;

use integration_tests::Process;

use crate::STUB;
use crate::job::{Job, Program};
use crate::paired::{Half, Outcome, Sheet, own, run};
use crate::stub::Calls;

const PATIENCE: Duration = Duration::from_secs(300);

/// How much is done.
#[derive(Clone, Copy)]
pub(crate) struct Effort {
    pub(crate) pairs: usize,
    pub(crate) messages: usize,
}

/// What is sent.
#[derive(Clone, Copy)]
struct Load {
    name: &'static str,
    size: usize,
    packs: bool,
    /// Calls that a message may cost.
    goal: f64,
}

pub(crate) async fn report(effort: Effort, words: Vec<String>) -> io::Result<()> {
    let mut sheet = Sheet::new(effort.pairs, words);
    let plain = Load { name: "1 KiB", size: 1024, packs: false, goal: 0.31 };
    let small = Load { name: "64 B, packed", size: 64, packs: true, goal: 0.02 };
    let larger = Load { name: "1 KiB, packed", size: 1024, packs: true, goal: 0.02 };
    for load in [plain, small, larger] {
        let mut calls = Vec::new();
        let sending = async |half| {
            let program = if half == Half::Ours { Program::Send } else { Program::RawSend };
            let (outcome, called) = Stand::start().await?.run(program, effort, load).await?;
            calls.extend((half == Half::Ours).then_some(called));
            Ok(outcome)
        };
        sheet.row(&format!("send, {}", load.name), effort.messages, 1.0, sending).await?;
        let receiving = async |half| {
            let mut stand = Stand::start().await?;
            let (fill, program) = match half {
                Half::Ours => (Program::Send, Program::Receive),
                Half::Raw => (Program::RawSend, Program::RawReceive),
            };
            stand.run(fill, effort, load).await?;
            let (outcome, called) = stand.run(program, effort, load).await?;
            calls.extend((half == Half::Ours).then_some(called));
            Ok(outcome)
        };
        sheet.row(&format!("receive, {}", load.name), effort.messages, 1.0, receiving).await?;
        if !calls.is_empty() {
            sheet.note(&format!("calls a message, {}", load.name), &told(effort, load, &calls));
        }
    }
    sheet.print();
    Ok(())
}

/// The calls of all runs of ours, a message.
fn told(effort: Effort, load: Load, calls: &[Calls]) -> String {
    let of = |operation| {
        let counts: Vec<u32> =
            calls.iter().filter_map(|calls| calls.get(operation).copied()).collect();
        let messages = f64::from(u32::try_from(counts.len() * effort.messages).unwrap_or(u32::MAX));
        f64::from(counts.iter().sum::<u32>()) / messages.max(1.0)
    };
    let operations = ["SendMessageBatch", "ReceiveMessage", "DeleteMessageBatch"];
    let each = operations.map(of);
    let [send, receive, delete] = each;
    let (sum, goal) = (each.iter().sum::<f64>(), load.goal);
    format!("{sum:.4} (goal {goal}): send {send:.4}, receive {receive:.4}, delete {delete:.4}")
}

/// A stub.
struct Stand {
    stub: Process,
    host: String,
}

impl Stand {
    async fn start() -> io::Result<Self> {
        let mut stub = Process::spawn(own(&[STUB])?)?;
        let host = stub.line(PATIENCE).await?;
        Ok(Self { stub, host })
    }

    /// Runs a program, and says what it called.
    async fn run(
        &mut self,
        program: Program,
        effort: Effort,
        load: Load,
    ) -> io::Result<(Outcome, Calls)> {
        let (messages, host) = (effort.messages, self.host.clone());
        let job = Job { program, messages, size: load.size, packs: load.packs, host };
        let outcome = run(&job).await?;
        self.stub.tell("calls").await?;
        Ok((outcome, self.stub.report(PATIENCE).await?))
    }
}
