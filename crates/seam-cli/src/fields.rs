//! The options that fill fields of each datagram.

use bytes::Bytes;
use seam_core::{Capability, Connection, Datagram};

use crate::failure::Outcome;

/// The options that fill fields of each datagram.
#[derive(Clone, Debug, Default, clap::Args)]
pub(crate) struct Fields {
    /// The key: datagrams of one key keep their order.
    #[arg(long, value_name = "KEY")]
    key: Option<String>,

    /// A header with this text; give it again for one more.
    #[arg(long = "header", value_name = "NAME=VALUE", value_parser = header)]
    headers: Vec<(String, String)>,

    /// Name of the payload's type.
    #[arg(long, value_name = "NAME")]
    kind: Option<String>,

    /// The number that version 1 of the wire carries [default: 0].
    #[arg(long, value_name = "0..65535")]
    tag: Option<u16>,
}

impl Fields {
    /// A datagram without payload that has these fields.
    pub(crate) fn template(&self) -> Datagram {
        let mut datagram = Datagram::empty().with_tag(self.tag.unwrap_or(0));
        if let Some(key) = &self.key {
            datagram = datagram.with_key(Bytes::from(key.clone()));
        }
        if let Some(kind) = &self.kind {
            datagram = datagram.with_kind(kind.clone());
        }
        for (name, value) in &self.headers {
            datagram = datagram.with_header(name.clone(), value.clone());
        }
        datagram
    }

    /// Fails, before anything is sent, where the endpoint cannot carry what these options ask for.
    pub(crate) fn require(&self, connection: &Connection, keyed: bool) -> Outcome {
        if keyed || !self.template().view().is_plain() {
            connection.require(&[Capability::Envelope])?;
        }
        Ok(())
    }
}

fn header(text: &str) -> Result<(String, String), String> {
    match text.split_once('=') {
        Some((name, value)) if !name.is_empty() => Ok((name.to_owned(), value.to_owned())),
        _ => Err("write NAME=VALUE, such as source=web".to_owned()),
    }
}
