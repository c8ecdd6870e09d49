//! What carries the bytes of a case: the same is promised over each.

use std::fmt;
use std::net::SocketAddr;
use std::path::PathBuf;
use std::time::Duration;

use seam_certificates::issue::write_new;

use super::stage::{Stage, free_address};

/// A carrier of sessions.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Over {
    Tcp,
    /// With certificates at both ends.
    Tls,
    /// With certificates at both ends.
    Quic,
    Unix,
}

/// Where a listener is to be found.
pub(super) struct Place {
    over: Over,
    /// Of no use over a Unix socket.
    pub(super) address: SocketAddr,
    folder: PathBuf,
}

impl Over {
    /// A place that is free, with certificates where they are needed.
    pub(super) fn place(self, stage: &Stage) -> Place {
        let folder = stage.folder().join("certs");
        if matches!(self, Self::Tls | Self::Quic) && !folder.exists() {
            let hosts = ["localhost", "127.0.0.1"].map(str::to_owned);
            write_new(&folder, &hosts, "client", Duration::from_secs(24 * 3600)).unwrap();
        }
        Place { over: self, address: free_address(), folder: stage.folder().to_owned() }
    }
}

impl fmt::Display for Over {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Tcp => "tcp",
            Self::Tls => "tls",
            Self::Quic => "quic",
            Self::Unix => "unix",
        })
    }
}

impl Place {
    /// Who listens there.
    pub(super) fn listens(&self, parameters: &str) -> String {
        self.uri(self.address, "server", "client_ca", parameters)
    }

    /// Who dials it.
    pub(super) fn dials(&self, parameters: &str) -> String {
        self.dials_at(self.address, parameters)
    }

    /// Who dials it by way of another address.
    pub(super) fn dials_at(&self, address: SocketAddr, parameters: &str) -> String {
        self.uri(address, "client", "ca", parameters)
    }

    /// Who listens there, and who dials it: one shows what the other one trusts, which shows nothing.
    pub(super) fn both(&self) -> String {
        self.uri(self.address, "server", "ca", "credit=4096")
    }

    fn uri(&self, address: SocketAddr, own: &str, trusts: &str, parameters: &str) -> String {
        let at = self.folder.display();
        match self.over {
            Over::Tcp => format!("tcp://{address}/load?{parameters}"),
            Over::Tls | Over::Quic => format!(
                "{}://{address}/load?cert={at}/certs/{own}.pem&key={at}/certs/{own}.key&{trusts}={at}/certs/ca.pem&{parameters}",
                self.over
            ),
            Over::Unix => format!("unix://{at}/s.sock?address=load&{parameters}"),
        }
    }
}
