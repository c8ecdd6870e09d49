//! The `seam` command: send, receive, ask, serve, carry and look, over whatever a URI names.
//!
//! ```sh
//! seam transports                                    # every scheme, and the parameters it takes
//! seam receive tcp://127.0.0.1:7420/orders > orders  # ends with Ctrl-C, and loses nothing
//! seam send tcp://127.0.0.1:7420/orders < new-orders # exit 0: every line has its receipt
//! ```
//!
//! `seam help COMMAND` tells the rest. The binary `seam` has the transports of the facade; a program that has
//! one of its own becomes the same command with one line:
//!
//! ```no_run
//! use std::process::ExitCode;
//!
//! use seam_core::{Memory, Registry};
//!
//! fn main() -> ExitCode {
//!     // A transport of your own goes here, beside ours or alone.
//!     seam_cli::run(Registry::new().with(Memory::new()))
//! }
//! ```
//!
//! # In scripts
//!
//! | exit code | meaning |
//! | --- | --- |
//! | 0 | all that was asked for is done |
//! | 1 | it is not; one line on standard error says what, and what to do |
//! | 2 | the command line is wrong: an option, a URI, or what its endpoint does not promise |
//! | 130 | a second Ctrl-C or SIGTERM: ended at once |
//!
//! Data goes to standard output, everything else to standard error, each line of it beginning with `seam: `.
//!
//! # Nothing is lost
//!
//! - `send` is done when every datagram has its receipt and the drain left nothing: where the endpoint has no
//!   `Store` that means settled by a receiver. What fails goes to `--failed FILE`, which `send --json` reads again.
//! - A line that cannot be sent (too long, or no JSON) ends `send` with its number. What came before it keeps its
//!   receipt; nothing from that line on was sent, so `tail -n +N` goes on where it stopped.
//! - `receive` acknowledges what it has written and flushed, and nothing else. If the output breaks, or the process
//!   dies, what was not acknowledged comes again: to the next one, and at least once. `--output` appends, so that
//!   what an earlier run acknowledged stays.
//! - `bridge` acknowledges at one end what has its receipt at the other, and nothing else.
//!
//! # Envelopes as JSON
//!
//! With `--json` a line is one datagram with all its fields, without loss: the form of [`seam_core::json`], which has
//! the table of them. What `receive --json` writes, `send --json` reads.
//!
//! ```
//! use seam_core::{Datagram, json};
//!
//! let line = r#"{"tag":7,"payload":"12 apples","key":"c-7","headers":[["try",{"u64":"2"}]]}"#;
//! let order = json::decode(line)?;
//! assert_eq!(order, Datagram::new("12 apples").with_tag(7).with_key("c-7").with_header("try", 2_u64));
//! assert_eq!(json::encode(order.view()), line);
//!
//! // Bytes that are no UTF-8; no payload at all; what `--failed` adds is ignored on the way in.
//! assert_eq!(json::decode(r#"{"payload":{"base64":"/wA="}}"#)?, Datagram::new(vec![0xff, 0x00]));
//! assert_eq!(json::decode(r#"{"payload":null,"fate":"not_sent","error":"closed"}"#)?, Datagram::empty());
//! # Ok::<(), seam_core::Error>(())
//! ```

mod args;
mod bridge;
#[cfg(feature = "tls")]
mod certs;
mod describe;
mod dialog;
mod failure;
mod fields;
mod input;
mod pace;
mod receive;
mod request;
mod run;
mod send;
mod serve;
mod source;
mod stop;
mod tally;
#[cfg(test)]
mod tests;

pub use run::run;
