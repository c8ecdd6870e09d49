//! Where somebody listens, over any carrier of sessions: the same is promised over each.

use std::net::SocketAddr;
use std::time::Duration;

use integration_tests::bare::{Dialling, Over, Spot, Wire};
use seam_certificates::issue::write_new;
use seam_wire::{EnvelopeLimits, Group, Offers, Open};
use tokio::time::timeout;

use super::stage::{Stage, free_address, patience};

/// What a dialler says first to the endpoint of these tests, before it has chosen any number.
pub(super) fn open(offers: Offers) -> Open {
    Open {
        highest: 2,
        nonce: [7; 32],
        instance: [7; 16],
        offers,
        token: false,
        address: "load".into(),
        group: Group::Default,
        max_message: 1 << 20,
        max_frame: 1 << 20,
        envelope: EnvelopeLimits::from(&seam_core::Limits::default()),
    }
}

/// Where a listener is to be found.
pub(super) struct Place(Spot);

impl Place {
    /// A place that is free, with certificates where they are needed.
    pub(super) fn new(over: Over, stage: &Stage) -> Self {
        let folder = stage.folder().join("certs");
        if !folder.exists() {
            let hosts = ["localhost", "127.0.0.1"].map(str::to_owned);
            write_new(&folder, &hosts, "client", Duration::from_secs(24 * 3600)).unwrap();
        }
        Self(Spot::new(over, free_address(), &folder))
    }

    /// The same at another address.
    pub(super) fn at(&self, address: SocketAddr) -> Self {
        Self(Spot { address, ..self.0.clone() })
    }

    /// Of no use over a Unix socket.
    pub(super) fn address(&self) -> SocketAddr {
        self.0.address
    }

    /// Who listens there.
    pub(super) fn listens(&self, parameters: &str) -> String {
        self.uri(&self.address().to_string(), "server", "client_ca", parameters)
    }

    /// Who dials it.
    pub(super) fn dials(&self, parameters: &str) -> String {
        self.uri(&self.address().to_string(), "client", "ca", parameters)
    }

    /// Who dials all of them, which no Unix socket can be among.
    pub(super) fn dials_all(places: &[Self], parameters: &str) -> String {
        let addresses: Vec<_> = places.iter().map(|place| place.address().to_string()).collect();
        places[0].uri(&addresses.join(","), "client", "ca", parameters)
    }

    /// Who listens there, and who dials it: one shows what the other one trusts, which shows nothing.
    pub(super) fn both(&self, parameters: &str) -> String {
        self.uri(&self.address().to_string(), "server", "ca", parameters)
    }

    /// A bare stream to it, with the client's certificate; `None` where it is not let in.
    pub(super) async fn try_wire(&self) -> Option<Wire> {
        let dialling = Dialling::new(&self.0).unwrap();
        timeout(patience(), dialling.dial()).await.expect("it ends").ok()
    }

    /// A bare stream to it, with the client's certificate.
    pub(super) async fn wire(&self) -> Wire {
        self.try_wire().await.expect("it is let in")
    }

    /// A bare connection of TCP to it, whatever it speaks inside.
    pub(super) async fn socket(&self) -> Wire {
        let spot = Spot { over: Over::Tcp, ..self.0.clone() };
        Dialling::new(&spot).unwrap().dial().await.unwrap()
    }

    /// Open sockets of anybody there. Other tests of this process have descriptors too, but none of these.
    pub(super) fn sockets(&self) -> usize {
        let table = match self.0.over {
            Over::Tcp | Over::Tls => "tcp",
            Over::Quic => "udp",
            Over::Unix => {
                let path = self.0.path().display().to_string();
                let table = std::fs::read_to_string("/proc/net/unix").unwrap();
                return table.lines().filter(|line| line.ends_with(&path)).count();
            }
        };
        let port = format!(":{:04X}", self.address().port());
        let table = std::fs::read_to_string(format!("/proc/net/{table}")).unwrap();
        let is_open = |line: &&str| {
            let columns: Vec<&str> = line.split_whitespace().collect();
            // One that was closed and lingers in the system has no inode.
            (columns[1].ends_with(&port) || columns[2].ends_with(&port)) && columns[9] != "0"
        };
        table.lines().skip(1).filter(is_open).count()
    }

    fn uri(&self, hosts: &str, own: &str, trusts: &str, parameters: &str) -> String {
        let (over, at) = (self.0.over, self.0.folder.display());
        match over {
            Over::Tcp => format!("tcp://{hosts}/load?{parameters}"),
            Over::Tls | Over::Quic => format!(
                "{over}://{hosts}/load?cert={at}/{own}.pem&key={at}/{own}.key&{trusts}={at}/ca.pem&server_name=localhost&{parameters}"
            ),
            Over::Unix => format!("unix://{}?address=load&{parameters}", self.0.path().display()),
        }
    }
}
