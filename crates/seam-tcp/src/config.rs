//! The parameters of `tcp://`.

use seam_core::{Parameter, Scheme, Shape};

pub(crate) static SCHEMES: [Scheme; 1] = [Scheme::new("tcp", Shape::Hosts, &PARAMETERS)
    .with_default_port(7420)
    .with_optional_address("wire", "connect")
    .with_about("TCP: sessions, or the plain wire of the crate `connect`")];

static PARAMETERS: [Parameter; 22] = seam_link::parameters_with(seam_link::tcp::PARAMETERS);
