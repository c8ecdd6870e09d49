//! Two network namespaces and a cable between them, which can be pulled: no packet goes through, nobody is
//! told.
//!
//! Whether this machine permits it is known when the tests are built; one that needs it says
//!
//! ```text
//! #[cfg_attr(not(namespaces), ignore = "no network namespaces here")]
//! ```

use std::io::{self, ErrorKind};
use std::net::{IpAddr, Ipv4Addr};
use std::time::Duration;

use tokio::process::Command;

use crate::Process;

/// Two network namespaces with a cable between them. Both are gone with it, or with the process that made it.
#[derive(Debug)]
pub struct Cable {
    left: Process,
    right: Process,
}

/// One end of a [`Cable`].
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum End {
    /// The end at 10.77.0.1.
    Left,
    /// The end at 10.77.0.2.
    Right,
}

impl End {
    /// Its address.
    #[must_use]
    pub fn address(self) -> IpAddr {
        match self {
            Self::Left => Ipv4Addr::new(10, 77, 0, 1).into(),
            Self::Right => Ipv4Addr::new(10, 77, 0, 2).into(),
        }
    }

    fn plug(self) -> &'static str {
        match self {
            Self::Left => "left",
            Self::Right => "right",
        }
    }
}

/// How long the system may take to make a namespace.
const PATIENCE: Duration = Duration::from_secs(20);

impl Cable {
    /// Makes the namespaces and plugs both ends in.
    ///
    /// # Errors
    ///
    /// What `unshare` and `ip` complain of; needs the rights of an administrator.
    pub async fn lay() -> io::Result<Self> {
        let cable = Self { left: hold().await?, right: hold().await? };
        let other = cable.right.id().ok_or(ErrorKind::NotFound)?;
        let lay = format!("link add left type veth peer name right netns {other}");
        cable.ip(End::Left, &lay).await?;
        for end in [End::Left, End::Right] {
            cable.ip(end, "link set lo up").await?;
            let (address, plug) = (end.address(), end.plug());
            cable.ip(end, &format!("address add {address}/24 dev {plug}")).await?;
        }
        cable.mend(End::Left).await?;
        cable.mend(End::Right).await?;
        Ok(cable)
    }

    /// Pulls it out at `end`. Nobody gets a reset; what is sent is lost until [`Cable::mend`].
    ///
    /// # Errors
    ///
    /// What `ip` complains of.
    pub async fn pull(&self, end: End) -> io::Result<()> {
        self.ip(end, &format!("link set {} down", end.plug())).await
    }

    /// Plugs it in again at `end`.
    ///
    /// # Errors
    ///
    /// What `ip` complains of.
    pub async fn mend(&self, end: End) -> io::Result<()> {
        self.ip(end, &format!("link set {} up", end.plug())).await
    }

    /// A command that runs `program` in the namespace of `end`. The process it starts is the program itself.
    ///
    /// # Errors
    ///
    /// [`ErrorKind::NotFound`] where somebody has ended the namespace.
    pub fn command(&self, end: End, program: &str) -> io::Result<Command> {
        let holder = match end {
            End::Left => &self.left,
            End::Right => &self.right,
        };
        let namespace = holder.id().ok_or(ErrorKind::NotFound)?;
        let mut command = Command::new("nsenter");
        command.arg(format!("--net=/proc/{namespace}/ns/net")).arg("--").arg(program);
        Ok(command)
    }

    async fn ip(&self, end: End, arguments: &str) -> io::Result<()> {
        let mut command = self.command(end, "ip")?;
        let output = command.args(arguments.split(' ')).output().await?;
        if output.status.success() {
            return Ok(());
        }
        let complaint = String::from_utf8_lossy(&output.stderr);
        Err(io::Error::other(format!("ip {arguments}: {complaint}")))
    }
}

/// A process in a new network namespace, which lives as long as its standard input.
async fn hold() -> io::Result<Process> {
    let mut command = Command::new("unshare");
    command.args(["--net", "sh", "-c", "echo; exec cat"]);
    let mut holder = Process::spawn(command)?;
    holder.line(PATIENCE).await?;
    Ok(holder)
}
