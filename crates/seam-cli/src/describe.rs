//! `seam caps` and `seam transports`: what can be known before anything is sent.

use std::fmt::Write as _;
use std::io::Write;
use std::time::Duration;

use seam_core::{
    Capabilities, Capability, Confirmation, Parameter, Registry, Scheme, Side, Support,
};
use serde_json::{Map, Value, json};

use crate::args::unless_stopped;
use crate::failure::{Failure, Outcome};
use crate::stop::Stop;

/// Tell what an endpoint promises
///
/// Opens it to see what it really gives; with --offline, what holds at least, without any connection.
#[derive(Debug, clap::Args)]
pub(crate) struct CapsArgs {
    /// The endpoint.
    uri: String,

    /// Print JSON.
    #[arg(long)]
    json: bool,

    /// Open nothing.
    #[arg(long)]
    offline: bool,
}

/// List every scheme, and the parameters it takes
#[derive(Debug, clap::Args)]
pub(crate) struct TransportsArgs {
    /// Print JSON.
    #[arg(long)]
    json: bool,
}

/// Prints what an endpoint promises.
pub(crate) async fn caps(
    registry: &Registry,
    args: &CapsArgs,
    output: &mut impl Write,
    stop: &Stop,
) -> Outcome {
    let endpoint = registry.endpoint(args.uri.as_str())?.to_string();
    let capabilities = if args.offline {
        registry.check(args.uri.as_str(), Side::Client)?
    } else {
        let connection = unless_stopped(stop, registry.client(args.uri.as_str())).await?;
        let capabilities = connection.capabilities().clone();
        // Nothing was sent, so nothing can be left.
        drop(connection.drain(Duration::ZERO).await?);
        capabilities
    };
    let text = match args.json {
        true => format!("{:#}\n", caps_json(&endpoint, &capabilities)),
        false => caps_text(&endpoint, &capabilities),
    };
    print(output, &text)
}

/// Prints every scheme with its parameters.
pub(crate) fn transports(
    registry: &Registry,
    args: &TransportsArgs,
    output: &mut impl Write,
) -> Outcome {
    let mut schemes: Vec<&Scheme> = registry.schemes().collect();
    schemes.sort_by_key(|scheme| scheme.name);
    let text = if args.json {
        let schemes: Vec<Value> = schemes.into_iter().map(scheme_json).collect();
        format!("{:#}\n", Value::from(schemes))
    } else {
        schemes.into_iter().map(scheme_text).collect::<Vec<_>>().join("\n")
    };
    print(output, &text)
}

fn print(output: &mut impl Write, text: &str) -> Outcome {
    let printed = output.write_all(text.as_bytes()).and_then(|()| output.flush());
    printed.map_err(|error| Failure::new(format!("cannot write the output: {error}")))
}

fn caps_text(endpoint: &str, capabilities: &Capabilities) -> String {
    let mut text =
        format!("{endpoint}\n\nreceipts say      {}\n", word_of(capabilities.confirmation()));
    for (capability, support) in capabilities.iter() {
        let name = capability.to_string();
        let remedy = match support {
            Support::No => format!("; {}", capability.remedy()),
            _ => String::new(),
        };
        line(&mut text, &format!("{name:<17} {}{remedy}", kept(support)));
    }
    line(&mut text, "");
    for (name, unit, limit) in limits(capabilities) {
        line(&mut text, &format!("{name:<17} {limit} {unit}"));
    }
    text
}

fn caps_json(endpoint: &str, capabilities: &Capabilities) -> Value {
    let support = capabilities.iter().map(|(capability, support)| {
        (name_of(capability), serde_json::to_value(support).unwrap_or_default())
    });
    let limits =
        limits(capabilities).map(|(name, unit, limit)| (format!("{name}_{unit}"), json!(limit)));
    json!({
        "endpoint": endpoint,
        "confirmation": word_of(capabilities.confirmation()),
        "capabilities": support.collect::<Map<_, _>>(),
        "limits": limits.into_iter().collect::<Map<_, _>>(),
    })
}

/// Name, unit and value of each limit.
fn limits(capabilities: &Capabilities) -> [(&'static str, &'static str, u64); 8] {
    let limits = capabilities.limits();
    let count = |count: usize| u64::try_from(count).unwrap_or(u64::MAX);
    [
        ("payload", "bytes", count(limits.payload)),
        ("key", "bytes", count(limits.key)),
        ("headers", "count", count(limits.headers)),
        ("header_name", "bytes", count(limits.header_name)),
        ("header_all", "bytes", count(limits.header_bytes)),
        ("header_nesting", "levels", count(limits.header_depth)),
        ("delay", "seconds", limits.delay.as_secs()),
        ("schedule", "seconds", limits.schedule.as_secs()),
    ]
}

fn name_of(capability: Capability) -> String {
    serde_word(&capability)
}

fn word_of(confirmation: Confirmation) -> String {
    serde_word(&confirmation)
}

/// The name that the JSON forms of core have for it.
fn serde_word(value: &impl serde::Serialize) -> String {
    match serde_json::to_value(value) {
        Ok(Value::String(word)) => word,
        _ => String::new(),
    }
}

fn kept(support: Support) -> &'static str {
    match support {
        Support::Native => "yes",
        Support::Emulated => "yes, by this library",
        Support::No => "no",
        Support::AtOpen => "known once it is open",
    }
}

fn scheme_text(scheme: &Scheme) -> String {
    let mut text = format!("{}\n", scheme.form());
    if !scheme.about.is_empty() {
        line(&mut text, &format!("  {}", scheme.about));
    }
    if let Some(port) = scheme.default_port {
        line(&mut text, &format!("  default port {port}"));
    }
    for parameter in scheme.parameters {
        let Parameter { name, kind, about, .. } = parameter;
        line(&mut text, &format!("  ?{name}=  {kind}{}", notes(parameter)));
        if !about.is_empty() {
            line(&mut text, &format!("      {about}"));
        }
    }
    text
}

fn notes(parameter: &Parameter) -> String {
    let mut notes = String::new();
    if let Some(default) = parameter.default {
        notes.push_str(&format!("; default {default}"));
    }
    if let Some(side) = parameter.side {
        notes.push_str(&format!("; {side}"));
    }
    if let Some(capability) = parameter.requires {
        notes.push_str(&format!("; needs {capability}"));
    }
    notes
}

fn scheme_json(scheme: &Scheme) -> Value {
    let parameters = scheme.parameters.iter().map(|parameter| {
        json!({
            "name": parameter.name,
            "takes": parameter.kind.to_string(),
            "side": parameter.side.map(|side| side.to_string()),
            "default": parameter.default,
            "needs": parameter.requires.map(name_of),
            "about": parameter.about,
        })
    });
    json!({
        "scheme": scheme.name,
        "form": scheme.form(),
        "about": scheme.about,
        "default_port": scheme.default_port,
        "parameters": parameters.collect::<Vec<_>>(),
    })
}

fn line(text: &mut String, line: &str) {
    writeln!(text, "{line}").expect("a string takes everything");
}
