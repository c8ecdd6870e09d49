//! `seam caps` and `seam transports`: what can be known before anything is sent.

use std::fmt::Write as _;
use std::io::Write;
use std::time::Duration;

use seam_core::{
    Calls, Capabilities, Capability, Confirmation, Cost, Load, Parameter, Registry, Scheme, Side,
    Support,
};
use serde_json::{Map, Value, json};

use crate::args::unless_stopped;
use crate::failure::{Failure, Outcome};
use crate::stop::Stop;

/// Tell what an endpoint promises, and what it costs
///
/// Opens it to see what it really gives; with --offline, what holds at least, without any connection. Where calls are
/// billed it estimates them, under load or at --rate.
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

    /// Estimate what so many datagrams a second cost.
    #[arg(long, value_name = "NUMBER", value_parser = rate)]
    rate: Option<f64>,

    /// Bytes of each datagram, payload and envelope, for that estimate.
    #[arg(long, value_name = "BYTES", default_value_t = 1024)]
    size: usize,
}

fn rate(text: &str) -> Result<f64, &'static str> {
    let rate = text.parse().ok().filter(|rate: &f64| rate.is_finite() && *rate > 0.0);
    rate.ok_or("it takes datagrams a second, a number over 0")
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
    let load = Load { rate: args.rate.unwrap_or(f64::INFINITY), size: args.size };
    let cost = registry.cost(args.uri.as_str(), load)?;
    let text = if args.json {
        let mut caps = caps_json(&endpoint, &capabilities);
        caps["cost"] = cost.map_or(Value::Null, |cost| cost_json(&cost, load));
        format!("{caps:#}\n")
    } else {
        let mut text = caps_text(&endpoint, &capabilities);
        match cost {
            Some(cost) => cost_text(&mut text, &cost, load),
            None if args.rate.is_some() => {
                line(&mut text, "");
                row(&mut text, "costs", "nothing by the call");
            }
            None => {}
        }
        text
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
    let mut text = format!("{endpoint}\n\n");
    row(&mut text, "receipts say", &word_of(capabilities.confirmation()));
    for (capability, support) in capabilities.iter() {
        let remedy = match support {
            Support::No => format!("; {}", capability.remedy()),
            _ => String::new(),
        };
        row(&mut text, &capability.to_string(), &format!("{}{remedy}", kept(support)));
    }
    line(&mut text, "");
    for (name, unit, limit) in limits(capabilities) {
        row(&mut text, name, &format!("{limit} {unit}"));
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

fn cost_text(text: &mut String, cost: &Cost, load: Load) {
    let at = match load.rate {
        rate if rate.is_finite() => format!("at {rate} datagrams a second"),
        _ => "under load".to_owned(),
    };
    line(text, "");
    row(text, "costs", &format!("{at}, of {} bytes each", load.size));
    for Calls { what, made, billed } in &cost.calls {
        row(text, what, &format!("{made:.4} calls a datagram, billed as {billed:.4}"));
    }
    row(text, "in all", &format!("{:.4} calls, billed as {:.4}", cost.made(), cost.billed()));
    let million = cost.billed() * cost.price;
    let mut price = format!("{million:.2} dollars for a million datagrams");
    if load.rate.is_finite() {
        price += &format!(", {:.2} for 30 days", million * load.rate * MONTH / 1e6);
    }
    row(text, "price", &price);
    let month = cost.idle * MONTH / 60.0 * cost.price / 1e6;
    let idle = format!("{} calls a minute, {month:.2} dollars for 30 days", cost.idle);
    row(text, "idle receiver", &idle);
    row(text, "assumed", &cost.assumed);
}

/// Thirty days, in seconds.
const MONTH: f64 = 2_592_000.0;

fn cost_json(cost: &Cost, load: Load) -> Value {
    let calls = cost.calls.iter().map(
        |Calls { what, made, billed }| json!({ "what": what, "made": made, "billed": billed }),
    );
    json!({
        "rate": load.rate.is_finite().then_some(load.rate),
        "size_bytes": load.size,
        "calls_per_datagram": calls.collect::<Vec<_>>(),
        "idle_calls_per_minute": cost.idle,
        "dollars_per_million_calls": cost.price,
        "dollars_per_million_datagrams": cost.billed() * cost.price,
        "assumed": cost.assumed,
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

/// A name and what is said of it.
fn row(text: &mut String, name: &str, said: &str) {
    line(text, &format!("{name:<17} {said}"));
}

fn line(text: &mut String, line: &str) {
    writeln!(text, "{line}").expect("a string takes everything");
}
