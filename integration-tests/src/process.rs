//! Child processes of a test: started, asked, frozen, killed, and never left behind.

use std::fs;
use std::io::{self, ErrorKind};
use std::process::{ExitStatus, Stdio};
use std::time::Duration;

use rustix::process::{Pid, Signal, kill_process};
use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};
use tokio::io::{AsyncBufReadExt, AsyncWriteExt, BufReader, Lines};
use tokio::process::{Child, ChildStdin, ChildStdout, Command};
use tokio::time::{Instant, sleep, timeout};

/// A child process. It is told lines on its standard input and answers by lines on its standard output.
///
/// Dropping it kills it.
#[derive(Debug)]
pub struct Process {
    child: Child,
    input: Option<ChildStdin>,
    output: Option<Voice>,
}

/// The lines that a process says.
pub type Voice = Lines<BufReader<ChildStdout>>;

/// How often the state of a process is looked at that has no event for it.
const LOOK: Duration = Duration::from_millis(2);

impl Process {
    /// Starts `command`. What it says on standard error goes to ours, unless the command says where.
    ///
    /// # Errors
    ///
    /// Those of the system: no such program, no more processes.
    pub fn spawn(mut command: Command) -> io::Result<Self> {
        command.stdin(Stdio::piped()).stdout(Stdio::piped()).kill_on_drop(true);
        let mut child = command.spawn()?;
        let output = child.stdout.take().ok_or(ErrorKind::BrokenPipe)?;
        let input = child.stdin.take();
        Ok(Self { child, input, output: Some(BufReader::new(output).lines()) })
    }

    /// The next line it says.
    ///
    /// # Errors
    ///
    /// [`ErrorKind::TimedOut`] after `within`; [`ErrorKind::UnexpectedEof`] where it says nothing any more;
    /// [`ErrorKind::BrokenPipe`] after [`Process::take_voice`].
    pub async fn line(&mut self, within: Duration) -> io::Result<String> {
        let output = self.output.as_mut().ok_or(ErrorKind::BrokenPipe)?;
        match timeout(within, output.next_line()).await {
            Ok(line) => line?.ok_or_else(|| io::Error::from(ErrorKind::UnexpectedEof)),
            Err(_) => {
                let complaint = format!("a child said nothing for {within:?}");
                Err(io::Error::new(ErrorKind::TimedOut, complaint))
            }
        }
    }

    /// The next line it says, read as JSON.
    ///
    /// # Errors
    ///
    /// Those of [`Process::line`]; [`ErrorKind::InvalidData`] with the line for anything else.
    pub async fn report<T: DeserializeOwned>(&mut self, within: Duration) -> io::Result<T> {
        let line = self.line(within).await?;
        serde_json::from_str(&line)
            .map_err(|error| io::Error::new(ErrorKind::InvalidData, format!("{error} in {line:?}")))
    }

    /// What it says from now on, for another task to read; none where it was taken.
    pub fn take_voice(&mut self) -> Option<Voice> {
        self.output.take()
    }

    /// Says one line to it.
    ///
    /// # Errors
    ///
    /// Those of the pipe; [`ErrorKind::BrokenPipe`] after [`Process::hush`].
    pub async fn tell(&mut self, line: &str) -> io::Result<()> {
        let input = self.input.as_mut().ok_or(ErrorKind::BrokenPipe)?;
        input.write_all(format!("{line}\n").as_bytes()).await?;
        input.flush().await
    }

    /// Closes its standard input.
    pub fn hush(&mut self) {
        self.input = None;
    }

    /// Its number, while it lives or nobody has learned that it ended.
    #[must_use]
    pub fn id(&self) -> Option<u32> {
        self.child.id()
    }

    /// Asks it to end, by SIGTERM.
    ///
    /// # Errors
    ///
    /// [`ErrorKind::NotFound`] where it has ended.
    pub fn terminate(&self) -> io::Result<()> {
        self.signal(Signal::TERM)
    }

    /// Stops it where it stands, by SIGSTOP, and waits until it stands.
    ///
    /// # Errors
    ///
    /// [`ErrorKind::NotFound`] where it has ended; [`ErrorKind::TimedOut`] where it still runs after `within`.
    pub async fn freeze(&self, within: Duration) -> io::Result<()> {
        self.signal(Signal::STOP)?;
        let until = Instant::now() + within;
        while state(self.require_id()?)? != 'T' {
            if Instant::now() > until {
                return Err(ErrorKind::TimedOut.into());
            }
            sleep(LOOK).await;
        }
        Ok(())
    }

    /// Lets it go on, by SIGCONT.
    ///
    /// # Errors
    ///
    /// [`ErrorKind::NotFound`] where it has ended.
    pub fn thaw(&self) -> io::Result<()> {
        self.signal(Signal::CONT)
    }

    /// Kills it, by SIGKILL, and waits until it is gone. What it said before can still be read.
    ///
    /// # Errors
    ///
    /// Those of the system.
    pub async fn kill(&mut self) -> io::Result<()> {
        self.child.kill().await
    }

    /// Waits for its end.
    ///
    /// # Errors
    ///
    /// [`ErrorKind::TimedOut`] after `within`: it lives on.
    pub async fn exit(&mut self, within: Duration) -> io::Result<ExitStatus> {
        timeout(within, self.child.wait()).await.map_err(|_| ErrorKind::TimedOut)?
    }

    /// What it holds now.
    ///
    /// # Errors
    ///
    /// [`ErrorKind::NotFound`] where it has ended, or the system does not say.
    pub fn usage(&self) -> io::Result<Usage> {
        Usage::of(self.require_id()?)
    }

    fn signal(&self, signal: Signal) -> io::Result<()> {
        let id = i32::try_from(self.require_id()?).map_err(io::Error::other)?;
        let pid = Pid::from_raw(id).ok_or(ErrorKind::NotFound)?;
        Ok(kill_process(pid, signal)?)
    }

    fn require_id(&self) -> io::Result<u32> {
        self.id().ok_or_else(|| ErrorKind::NotFound.into())
    }
}

/// What a process holds.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Usage {
    /// Bytes in memory now.
    pub resident: u64,
    /// The most that it had in memory at any time.
    pub peak: u64,
    /// Open files and sockets.
    pub descriptors: usize,
    /// Threads.
    pub threads: usize,
}

impl Usage {
    /// Of the process `id`.
    ///
    /// # Errors
    ///
    /// [`ErrorKind::NotFound`] where there is none, or the system does not say.
    pub fn of(id: u32) -> io::Result<Self> {
        Self::read(&id.to_string())
    }

    /// Of this process.
    ///
    /// # Errors
    ///
    /// [`ErrorKind::NotFound`] where the system does not say.
    pub fn own() -> io::Result<Self> {
        Self::read("self")
    }

    fn read(process: &str) -> io::Result<Self> {
        let status = fs::read_to_string(format!("/proc/{process}/status"))?;
        let field = |name: &str| {
            let line = status.lines().find_map(|line| line.strip_prefix(name));
            line.and_then(|line| line.split_whitespace().next()?.parse::<u64>().ok())
        };
        let threads = field("Threads:").and_then(|threads| usize::try_from(threads).ok());
        Ok(Self {
            // A process that has ended and was not waited for has no memory.
            resident: field("VmRSS:").unwrap_or(0) << 10,
            peak: field("VmHWM:").unwrap_or(0) << 10,
            descriptors: fs::read_dir(format!("/proc/{process}/fd"))?.count(),
            threads: threads.unwrap_or(0),
        })
    }
}

/// The letter by which the system tells what a process does: `R`uns, `S`leeps, is s`T`opped, is a `Z`ombie.
fn state(id: u32) -> io::Result<char> {
    let stat = fs::read_to_string(format!("/proc/{id}/stat"))?;
    // Its name stands before, in parentheses, and may hold anything.
    let rest = stat.rsplit_once(") ").ok_or(ErrorKind::InvalidData)?.1;
    rest.chars().next().ok_or_else(|| ErrorKind::InvalidData.into())
}
