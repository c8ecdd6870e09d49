//! Capabilities: a promise made holds, and one not made fails with `Unsupported`, never as a silent no-op.

use std::time::Duration;

use seam_core::{
    Capability, Confirmation, Connection, Datagram, Error, Fate, SendError, Side, Support,
};

use crate::bench::{Bench, has};
use crate::options::End;
use crate::report::{Check, Stop, ensure};

/// Has a capability that is missing refused, in whichever way it is asked for.
pub(crate) async fn refused(bench: &Bench<'_>, capability: Capability) -> Check {
    let mut line = bench.line().await?;
    // Where only one end lacks it, that end is held to it.
    let lacking = if has(&line.client, &[capability]) { &line.server } else { &line.client };
    unsupported(capability, lacking.require(&[capability]))?;
    // What the client alone promises, it does; the server promises nothing of it.
    let sends = !has(&line.client, &[capability]);
    match capability {
        Capability::Envelope | Capability::Reply | Capability::Schedule if !sends => {}
        Capability::Envelope => {
            for datagram in [Datagram::new("x").with_key("k"), Datagram::new(""), Datagram::empty()]
            {
                let sent = bench.within("the refusal", line.sender.send(datagram)).await?;
                unsent(capability, sent)?;
            }
        }
        Capability::Redelivery | Capability::Delay => {
            line.post("k", 1).await?;
            let delivery = line.next().await?;
            let after = match capability {
                Capability::Delay => Duration::from_millis(1),
                _ => Duration::ZERO,
            };
            let Err(error) = delivery.retry(after) else { return Err(silent(capability)) };
            let (delivery, error) = error.into_parts();
            unsupported(missing(&line.server, capability), Err::<(), _>(error))?;
            line.ack(delivery)?;
        }
        Capability::Groups => parameter(bench, capability, "group=another").await?,
        Capability::Private => parameter(bench, capability, "private").await?,
        Capability::Replay => parameter(bench, capability, "from=earliest").await?,
        Capability::Reply => {
            let asked = line.client.request(Datagram::new("?"), bench.options.deadline());
            unsent(capability, bench.within("the refusal", asked).await?)?;
        }
        Capability::Peers => {
            let accepted = bench.within("the refusal", line.server.accept()).await?;
            unsupported(capability, accepted)?;
        }
        Capability::Schedule => {
            let at = bench.registry.clock().wall().saturating_add(Duration::from_secs(1));
            let sent = line.sender.send(Datagram::new("later").with_deliver_at(at));
            let sent = bench.within("the refusal", sent).await?;
            unsent(missing(&line.client, capability), sent)?;
        }
        // What is not promised here shows in no call of its own.
        _ => {}
    }
    line.finish().await
}

/// What a call is refused for where more than one thing is missing.
fn missing(connection: &Connection, capability: Capability) -> Capability {
    match capability {
        Capability::Delay if !has(connection, &[Capability::Redelivery]) => Capability::Redelivery,
        Capability::Schedule if !has(connection, &[Capability::Envelope]) => Capability::Envelope,
        other => other,
    }
}

fn silent(capability: Capability) -> Stop {
    Stop::failed(format!("{capability} is not promised, and asking for it was not refused"))
}

#[track_caller]
fn unsupported<T>(wanted: Capability, result: Result<T, Error>) -> Check {
    match result {
        Ok(_) => Err(silent(wanted)),
        Err(Error::Unsupported { capability, .. }) if capability == wanted => Ok(()),
        Err(other) => Err(Stop::failed(format!("{wanted} was refused as `{other}`"))),
    }
}

#[track_caller]
fn unsent<T>(wanted: Capability, result: Result<T, SendError>) -> Check {
    match result {
        Ok(_) => Err(silent(wanted)),
        Err(error) if error.fate() == Fate::NotSent => {
            unsupported(wanted, Err::<(), _>(error.into()))
        }
        Err(error) => Err(Stop::failed(format!("refused, and yet {error}"))),
    }
}

/// A parameter of a missing capability is refused when it is opened, with its capability or by its name.
async fn parameter(bench: &Bench<'_>, capability: Capability, parameter: &str) -> Check {
    let address = bench.address()?;
    let uri = bench.uri(End::new(&address, Side::Server), parameter)?;
    match bench.within("the refusal", bench.registry.server(uri.as_str())).await? {
        Ok(_) => Err(silent(capability)),
        Err(Error::InvalidEndpoint { .. }) => Ok(()),
        Err(error) => unsupported(capability, Err::<(), _>(error)),
    }
}

pub(crate) async fn each_missing_capability_is_refused(bench: &Bench<'_>) -> Check {
    let line = bench.line().await?;
    let missing = Capability::ALL.into_iter().filter(|capability| !line.has(*capability));
    let missing: Vec<Capability> = missing.collect();
    line.finish().await?;
    for capability in missing {
        refused(bench, capability).await?;
    }
    Ok(())
}

pub(crate) async fn nothing_is_left_open_once_it_is_opened(bench: &Bench<'_>) -> Check {
    let line = bench.line().await?;
    for connection in [&line.client, &line.server] {
        let mut open = connection.capabilities().iter();
        let open = open.find(|(_, support)| *support == Support::AtOpen);
        ensure!(open.is_none(), "not known although it is open: {open:?}");
    }
    line.finish().await
}

pub(crate) async fn what_is_promised_before_opening_holds_after(bench: &Bench<'_>) -> Check {
    let line = bench.line().await?;
    for (side, connection) in [(Side::Client, &line.client), (Side::Server, &line.server)] {
        let uri = bench.uri(End::new(&line.address, side), "")?;
        let promised = bench.registry.check(uri.as_str(), side)?;
        let found = connection.capabilities();
        for capability in Capability::ALL {
            let (before, after) = (promised.has(capability), found.has(capability));
            ensure!(after || !before, "{capability} was promised, and is gone once opened");
            let no = promised.support(capability) == Support::No;
            ensure!(!(no && after), "{capability} was denied, and is there once opened");
        }
        ensure!(found.confirmation() >= promised.confirmation(), "a weaker confirmation is found");
    }
    line.finish().await
}

pub(crate) async fn requiring_names_what_is_missing(bench: &Bench<'_>) -> Check {
    let line = bench.line().await?;
    for connection in [&line.client, &line.server] {
        for capability in Capability::ALL {
            match (has(connection, &[capability]), connection.require(&[capability])) {
                (true, Ok(())) => {}
                (false, Err(error)) => {
                    let text = error.to_string();
                    let named = text.contains(&connection.endpoint().to_string());
                    ensure!(named, "the endpoint is not named in `{text}`");
                    unsupported(capability, Err::<(), _>(error))?;
                }
                (true, Err(error)) => return Err(Stop::failed(error)),
                (false, Ok(())) => return Err(silent(capability)),
            }
        }
    }
    line.finish().await
}

pub(crate) async fn an_unknown_parameter_is_refused(bench: &Bench<'_>) -> Check {
    for side in [Side::Client, Side::Server] {
        let address = bench.address()?;
        let uri = bench.uri(End::new(&address, side), "no-such-thing=1")?;
        let opened = match side {
            Side::Client => {
                bench.within("the refusal", bench.registry.client(uri.as_str())).await?
            }
            Side::Server => {
                bench.within("the refusal", bench.registry.server(uri.as_str())).await?
            }
        };
        let refused = matches!(&opened, Err(Error::InvalidEndpoint { reason }) if reason.contains("no-such-thing"));
        ensure!(refused, "an unknown parameter comes to {opened:?}");
    }
    Ok(())
}

pub(crate) async fn what_is_kept_survives_without_a_receiver(bench: &Bench<'_>) -> Check {
    let line = bench.line().await?;
    if !line.has(Capability::Store) {
        line.finish().await?;
        return not_kept(bench).await;
    }
    let mut line = line;
    let bench = line.bench;
    drop(bench.within("the drain", line.server.drain(Duration::ZERO)).await??);
    let stamps = line.post("k", 5).await?;
    let mut posted = line.posted.pop().ok_or_else(|| Stop::failed("nothing was posted"))?;
    ensure!(bench.receipts(&mut posted).await?.all_ok(), "it is not kept without a receiver");
    line.server = bench.server(&line.address, "").await?;
    line.receiver = bench.receiver(&line.server).await?;
    ensure!(stamps.len() == 5, "a batch of another size");
    line.finish().await
}

/// Where nothing is kept, a receipt without a receiver proves no more than that it was written.
async fn not_kept(bench: &Bench<'_>) -> Check {
    let address = bench.address()?;
    let timeout = format!("send_timeout={}ms", bench.options.moment().as_millis());
    let _server = bench.server(&address, "").await?;
    let client = bench.client(&address, &timeout).await?;
    let sender = bench.sender(&client).await?;
    let sent = bench.within("the send", sender.send(Datagram::new("anybody?"))).await?;
    let claimed = sent.is_ok_and(|receipt| receipt.confirmation > Confirmation::Written);
    ensure!(!claimed, "it is receipted although nobody is there and nothing keeps it");
    Ok(())
}
