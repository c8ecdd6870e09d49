//! The parameters of `quic://`, and how connections are set up.

use std::sync::Arc;
use std::time::Duration;

use quinn::{IdleTimeout, MtuDiscoveryConfig, TransportConfig, VarInt};
use seam_certificates::{Protocols, SESSION};
use seam_core::{Endpoint, Error, Kind, Parameter, Result, Scheme, Shape, parameters};

pub(crate) static SCHEMES: [Scheme; 1] = [Scheme::new("quic", Shape::Hosts, &PARAMETERS)
    .with_default_port(7422)
    .with_about("QUIC over UDP: sessions between ends that prove who they are")];

static PARAMETERS: [Parameter; 30] = seam_link::parameters_with(MORE);

const MORE: [Parameter; 11] = parameters::join(
    [IDLE, KEEP_ALIVE, MTU, SEGMENTATION, MIGRATION],
    seam_certificates::PARAMETERS,
);

const IDLE: Parameter = Parameter::new("quic_idle", Kind::Duration)
    .with_default("15s")
    .with_about("a connection without any packet of the peer for this long is lost");

const KEEP_ALIVE: Parameter =
    Parameter::new("quic_keep_alive", Kind::Duration).with_default("5s").with_about(
        "after this time of silence the peer is asked for a packet; well below `quic_idle`",
    );

const MTU: Parameter = Parameter::new("mtu", Kind::Count { min: 1200 })
    .with_default("1452")
    .with_about("the largest UDP payload that is looked for, in bytes; 1200 looks for none");

const SEGMENTATION: Parameter = Parameter::new("gso", Kind::Choice(&["on", "off"]))
    .with_default("on")
    .with_about("have the operating system cut several packets from one write, where it can");

const MIGRATION: Parameter = Parameter::new("migration", Kind::Choice(&["on", "off"]))
    .with_default("on")
    .with_about("let a client go on from another address, as behind a NAT that forgets");

/// What both ends must say that they speak.
pub(crate) const PROTOCOLS: Protocols = &[SESSION];

/// How a connection is set up.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(crate) struct Options {
    idle: Duration,
    keep_alive: Duration,
    mtu: u16,
    segmentation: bool,
    pub(crate) migration: bool,
}

impl Options {
    /// What `endpoint` asks for.
    ///
    /// # Errors
    ///
    /// [`Error::InvalidEndpoint`] for values that do not fit together.
    pub(crate) fn new(endpoint: &Endpoint) -> Result<Self> {
        if endpoint.text("wire").is_some_and(|wire| wire != "session") {
            return Err(Error::invalid_endpoint(
                "`quic://` carries sessions; for the wire of `connect` write `tls://` or `tcp://`",
            ));
        }
        let mtu = endpoint.count("mtu").unwrap_or(1452);
        let mtu = u16::try_from(mtu).map_err(|_| {
            Error::invalid_endpoint("`mtu` is over 65535, the most that UDP has; write less")
        })?;
        let options = Self {
            idle: endpoint.duration("quic_idle").unwrap_or(Duration::from_secs(15)),
            keep_alive: endpoint.duration("quic_keep_alive").unwrap_or(Duration::from_secs(5)),
            mtu,
            segmentation: endpoint.text("gso") != Some("off"),
            migration: endpoint.text("migration") != Some("off"),
        };
        if options.keep_alive.saturating_mul(2) > options.idle {
            return Err(Error::invalid_endpoint(
                "`quic_keep_alive` is more than half of `quic_idle`, so one lost packet would end a connection; write less",
            ));
        }
        options.idle_timeout()?;
        Ok(options)
    }

    fn idle_timeout(&self) -> Result<IdleTimeout> {
        IdleTimeout::try_from(self.idle).map_err(|_| {
            Error::invalid_endpoint("`quic_idle` is longer than QUIC can say; write less")
        })
    }

    /// As quinn has it.
    pub(crate) fn transport(&self) -> Result<Arc<TransportConfig>> {
        let mut config = TransportConfig::default();
        let discovery = (self.mtu > 1200).then(|| {
            let mut discovery = MtuDiscoveryConfig::default();
            discovery.upper_bound(self.mtu);
            discovery
        });
        config
            .max_idle_timeout(Some(self.idle_timeout()?))
            .keep_alive_interval(Some(self.keep_alive))
            .mtu_discovery_config(discovery)
            .enable_segmentation_offload(self.segmentation)
            .max_concurrent_bidi_streams(ADDRESSES)
            .max_concurrent_uni_streams(VarInt::from_u32(0))
            .stream_receive_window(STREAM_WINDOW)
            .receive_window(WINDOW)
            .send_window(u64::from(WINDOW))
            .datagram_receive_buffer_size(None);
        Ok(Arc::new(config))
    }
}

/// How many streams a peer may have open: one for each address.
const ADDRESSES: VarInt = VarInt::from_u32(256);

/// What may be on its way on one stream, in bytes: a long line at a gigabit, and no more than a session's credit needs.
const STREAM_WINDOW: VarInt = VarInt::from_u32(4 << 20);

/// And on all of a connection.
const WINDOW: VarInt = VarInt::from_u32(16 << 20);
