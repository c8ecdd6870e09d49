//! The three addresses, and the registry that opens them.

use seam::{Capability, Error, Registry, Side, Uri};

use crate::Failure;
use crate::args::Args;

pub(crate) struct Places {
    pub(crate) registry: Registry,
    pub(crate) via: Uri,
    pub(crate) alerts: Uri,
    pub(crate) parked: Uri,
}

/// What every address must promise.
const REQUIRED: [Capability; 3] = [Capability::Envelope, Capability::Redelivery, Capability::Delay];

impl Places {
    pub(crate) fn new(args: &Args) -> Result<Self, Failure> {
        let registry = seam::registry();
        let via: Uri = args.via.parse()?;
        let beside = |given: &Option<String>, suffix: &str| -> Result<Uri, Error> {
            if let Some(uri) = given {
                return uri.parse();
            }
            let endpoint = registry.endpoint(&via)?;
            let address = format!("{}{suffix}", endpoint.address());
            Ok(endpoint.with_address(&address)?.uri().clone())
        };
        let (alerts, parked) = (beside(&args.alerts, "-alerts")?, beside(&args.parked, "-parked")?);
        for uri in [&via, &alerts, &parked] {
            let promised = registry.check(uri, Side::Server)?;
            promised.require(&registry.endpoint(uri)?.to_string(), &REQUIRED)?;
        }
        Ok(Self { registry, via, alerts, parked })
    }

    /// A URI to send to. Where nothing keeps a datagram while no receiver is there, its receipt must mean that
    /// it was settled: what is only received dies with its receiver's process.
    pub(crate) fn to_send(&self, uri: &Uri) -> Result<Uri, Error> {
        let endpoint = self.registry.endpoint(uri)?;
        let stored = self.registry.check(uri, Side::Client)?.has(Capability::Store);
        if stored || !endpoint.takes("confirm") || endpoint.is_given("confirm") {
            return Ok(uri.clone());
        }
        let text = uri.expose();
        let separator = if text.contains('?') { '&' } else { '?' };
        format!("{text}{separator}confirm=settled").parse()
    }
}
