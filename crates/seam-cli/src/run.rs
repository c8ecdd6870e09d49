//! From the command line to an exit code.

use std::fmt;
use std::io::{IsTerminal, Write};
use std::process::ExitCode;

use clap::Parser;
use clap::error::ErrorKind;
use seam_core::Registry;
use tracing_subscriber::filter::{LevelFilter, Targets};
use tracing_subscriber::layer::SubscriberExt;
use tracing_subscriber::util::SubscriberInitExt;

use crate::args::{Args, Command, unless_stopped};
#[cfg(feature = "tls")]
use crate::certs;
use crate::failure::{Failure, Outcome};
use crate::stop::{Signals, Stop};
use crate::{bridge, describe, receive, request, send, serve};

/// Does what the process's arguments say with the transports of `registry`; gives the exit code.
///
/// It starts a Tokio runtime of its own and catches Ctrl-C and SIGTERM, so it is all that a `main` does: see the
/// page of this crate.
#[must_use]
pub fn run(registry: Registry) -> ExitCode {
    let args = match Args::try_parse() {
        Ok(args) => args,
        Err(error) => return refuse(&error),
    };
    if args.verbose {
        be_verbose();
    }
    let runtime = match tokio::runtime::Builder::new_multi_thread().enable_all().build() {
        Ok(runtime) => runtime,
        Err(error) => return end(Err(Failure::new(format!("cannot start: {error}")))),
    };
    let code = runtime.block_on(until_signalled(registry, args));
    // A read of standard input cannot be ended, so nobody waits for it.
    runtime.shutdown_background();
    code
}

/// Writes one line on standard error. That nobody reads it is no reason to fail.
pub(crate) fn tell(line: &impl fmt::Display) {
    drop(writeln!(std::io::stderr(), "seam: {line}"));
}

/// Runs the command; the first signal ends it gracefully, the second at once.
async fn until_signalled(registry: Registry, args: Args) -> ExitCode {
    let mut signals = match Signals::new() {
        Ok(signals) => signals,
        Err(error) => return end(Err(Failure::new(format!("cannot catch signals: {error}")))),
    };
    let (raise, stop) = Stop::new();
    let running = run_command(&registry, args.command, &stop);
    let second_signal = async {
        signals.next().await;
        raise.raise();
        if std::io::stderr().is_terminal() {
            tell(&"ending gracefully; once more ends at once");
        }
        signals.next().await;
    };
    tokio::select! {
        biased;
        outcome = running => end(outcome),
        () = second_signal => {
            tell(&"ended at once by a second signal; what was not settled comes again");
            ExitCode::from(130)
        }
    }
}

async fn run_command(registry: &Registry, command: Command, stop: &Stop) -> Outcome {
    match command {
        Command::Send(args) => send::send(registry, &args, stop).await,
        Command::Receive(args) => receive::receive(registry, &args, stop).await,
        Command::Request(args) => {
            request::request(registry, &args, tokio::io::stdout(), stop).await
        }
        Command::Serve(args) => serve::serve(registry, &args, stop).await,
        Command::Bridge(args) => bridge::carry(registry, &args, stop).await,
        Command::Caps(args) => describe::caps(registry, &args, &mut std::io::stdout(), stop).await,
        Command::Transports(args) => describe::transports(registry, &args, &mut std::io::stdout()),
        Command::Remove(args) => unless_stopped(stop, registry.remove(args.uri.as_str())).await,
        #[cfg(feature = "tls")]
        Command::Certs(command) => certs::run(&command, &mut std::io::stdout()),
    }
}

fn end(outcome: Outcome) -> ExitCode {
    match outcome {
        Ok(()) => ExitCode::SUCCESS,
        Err(failure) => {
            tell(&failure);
            ExitCode::from(failure.code())
        }
    }
}

/// Prints help where it was asked for; else one line about what is wrong.
fn refuse(error: &clap::Error) -> ExitCode {
    if matches!(error.kind(), ErrorKind::DisplayHelp | ErrorKind::DisplayVersion) {
        // Help that nobody reads is no failure.
        drop(error.print());
        return ExitCode::SUCCESS;
    }
    if error.kind() == ErrorKind::DisplayHelpOnMissingArgumentOrSubcommand {
        drop(error.print());
        return ExitCode::from(2);
    }
    end(Err(Failure::usage(complaint(&error.to_string()))))
}

/// What clap says, without the parts that every complaint has.
fn complaint(text: &str) -> String {
    let parts = text.split("\n\n").map(|part| part.trim().trim_start_matches("error: "));
    let own = parts.filter(|part| {
        !part.is_empty() && !part.starts_with("Usage:") && !part.starts_with("For more information")
    });
    let own: Vec<&str> = own.collect();
    redacted(&format!("{}; see `seam --help`", own.join("; ")))
}

/// Without what stands before an `@` in a URI: a misplaced one may be quoted, with its password.
fn redacted(text: &str) -> String {
    let word = |word: &str| match (word.find("://"), word.rfind('@')) {
        (Some(start), Some(end)) if start < end => {
            format!("{}***{}", &word[..start + 3], &word[end..])
        }
        _ => word.to_owned(),
    };
    text.split(' ').map(word).collect::<Vec<_>>().join(" ")
}

/// Prints the events of connections as they come.
fn be_verbose() {
    let ours = Targets::new().with_target("seam", LevelFilter::DEBUG);
    let layer = tracing_subscriber::fmt::layer().with_writer(std::io::stderr).with_ansi(false);
    // A program that has a subscriber of its own keeps it.
    drop(tracing_subscriber::registry().with(ours).with(layer).try_init());
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_complaint_is_one_part_and_shows_no_password() {
        let text = "error: unexpected argument 'tcp://ann:hunter2@h:1/a' found\n\n  tip: x\n\nUsage: seam send\n\nFor more information, try '--help'.\n";
        assert_eq!(
            complaint(text),
            "unexpected argument 'tcp://***@h:1/a' found; tip: x; see `seam --help`"
        );
    }
}
