//! `seam certs`: certificates to develop with, and what one says.

use std::io::Write;
use std::path::PathBuf;
use std::time::Duration;

use clap::Subcommand;
use seam_certificates::{Certificate, issue, read_file};
use seam_core::Timestamp;
use seam_core::clock::system_wall;
use serde_json::{Value, json};

use crate::failure::{Failure, Outcome};

/// Make certificates to develop with, and tell what one says
#[derive(Debug, Subcommand)]
pub(crate) enum CertsCommand {
    New(NewArgs),
    Show(ShowArgs),
}

/// Make an authority, and a certificate of it for a listener and for a client
///
/// Writes ca.pem, ca.key, server.pem, server.key, client.pem and client.key to a folder, and overwrites nothing. Keys are
/// readable by their owner alone. For development: keep the key of a real authority elsewhere.
#[derive(Debug, clap::Args)]
#[command(after_help = "\
Example:
  seam certs new --out certs --host localhost
  seam receive 'tls://localhost/orders?cert=certs/server.pem&key=certs/server.key&client_ca=certs/ca.pem'
  seam send 'tls://localhost/orders?ca=certs/ca.pem&cert=certs/client.pem&key=certs/client.key' < orders.txt")]
pub(crate) struct NewArgs {
    /// The folder to write them to; made where it is missing.
    #[arg(long, value_name = "DIR")]
    out: PathBuf,

    /// A name or an address of the listener, as whoever dials writes it; may be given again.
    #[arg(long, value_name = "NAME", default_value = "localhost")]
    host: Vec<String>,

    /// The name of the client: its identity at the listener.
    #[arg(long, value_name = "NAME", default_value = "client")]
    client: String,

    /// How many days all of them are valid.
    #[arg(long, value_name = "DAYS", default_value_t = 365, value_parser = clap::value_parser!(u16).range(1..))]
    days: u16,
}

/// Tell whose a certificate is, what for, and when it expires
#[derive(Debug, clap::Args)]
#[command(after_help = "\
Example:
  seam certs show certs/server.pem certs/client.pem")]
pub(crate) struct ShowArgs {
    /// PEM files.
    #[arg(required = true, value_name = "FILE")]
    files: Vec<PathBuf>,

    /// Print JSON: an array with an object for each certificate.
    #[arg(long)]
    json: bool,
}

pub(crate) fn run(command: &CertsCommand, output: &mut impl Write) -> Outcome {
    let text = match command {
        CertsCommand::New(args) => new(args)?,
        CertsCommand::Show(args) => show(args)?,
    };
    let written = output.write_all(text.as_bytes()).and_then(|()| output.flush());
    written.map_err(|error| Failure::new(format!("cannot write: {error}")))
}

fn new(args: &NewArgs) -> Outcome<String> {
    let valid = DAY * u32::from(args.days);
    let files = issue::write_new(&args.out, &args.host, &args.client, valid)?;
    Ok(files.iter().map(|file| format!("{}\n", file.display())).collect())
}

fn show(args: &ShowArgs) -> Outcome<String> {
    let now = system_wall();
    let (mut text, mut all) = (String::new(), Vec::new());
    for file in &args.files {
        for found in read_file(file)? {
            let file = file.display().to_string();
            all.push(as_json(&file, &found));
            text.push_str(&as_text(&file, &found, now));
        }
    }
    Ok(if args.json { format!("{}\n", Value::Array(all)) } else { text })
}

fn as_json(file: &str, found: &Certificate) -> Value {
    json!({
        "file": file,
        "subject": found.subject,
        "issuer": found.issuer,
        "names": found.names,
        "purposes": found.purposes,
        "is_authority": found.is_authority,
        "not_before": found.not_before.to_string(),
        "not_after": found.not_after.to_string(),
        "fingerprint": found.fingerprint,
    })
}

fn as_text(file: &str, found: &Certificate, now: Timestamp) -> String {
    let made_for = match (found.is_authority, found.purposes.is_empty()) {
        (true, _) => "signing others".to_owned(),
        (false, true) => "anything".to_owned(),
        (false, false) => found.purposes.join(", "),
    };
    let valid = format!(
        "{} to {}, {}",
        found.not_before,
        found.not_after,
        remaining(found.not_before, found.not_after, now)
    );
    let rows = [
        ("subject", &found.subject),
        ("issuer", &found.issuer),
        ("names", &found.names.join(", ")),
        ("made for", &made_for),
        ("valid", &valid),
        ("fingerprint", &found.fingerprint),
    ];
    let mut text = format!("{file}\n");
    for (name, value) in rows.into_iter().filter(|(_, value)| !value.is_empty()) {
        text.push_str(&format!("  {name:<13}{}\n", value.escape_debug()));
    }
    text
}

/// How long it is still good, in whole days.
fn remaining(not_before: Timestamp, not_after: Timestamp, now: Timestamp) -> String {
    let days = |time: Duration| time.as_secs() / DAY.as_secs();
    match () {
        () if now < not_before => "which is still to come".to_owned(),
        () if now > not_after => {
            format!("expired {} days ago", days(now.saturating_since(not_after)))
        }
        () => format!("{} days left", days(not_after.saturating_since(now))),
    }
}

const DAY: Duration = Duration::from_secs(24 * 60 * 60);

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_left_is_told_in_days() {
        let at = |text: &str| text.parse::<Timestamp>().unwrap();
        let told =
            |now: &str| remaining(at("2026-01-01T00:00:00Z"), at("2026-02-01T00:00:00Z"), at(now));
        assert_eq!(told("2025-12-31T00:00:00Z"), "which is still to come");
        assert_eq!(told("2026-01-01T00:00:00Z"), "31 days left");
        assert_eq!(told("2026-02-01T00:00:00Z"), "0 days left");
        assert_eq!(told("2026-02-04T12:00:00Z"), "expired 3 days ago");
    }
}
