//! Requests: each gets its own reply, and servers see it at least once.

use futures_util::future::{join, join_all};
use seam_core::{Connection, Datagram, Delivery, Error, Fate};

use crate::bench::{Bench, poll_and_drop};
use crate::line::Line;
use crate::report::{Check, Stop, ensure};
use crate::suite::needs;

/// The next request, whatever it carries.
async fn next_request(line: &mut Line<'_>) -> Check<Delivery> {
    let next = line.bench.within("a request", line.receiver.next()).await??;
    next.ok_or_else(|| Stop::failed("the receiver ended"))
}

/// One request and its reply. The first one may take a broker long, and those that count time come after it.
async fn open(bench: &Bench<'_>, line: &mut Line<'_>, client: &Connection) -> Check {
    let asked = client.request(Datagram::new("first"), bench.options.deadline());
    let serving = async {
        let request = next_request(line).await?;
        bench.within("the first reply", request.reply(Datagram::new("!"))).await??;
        Check::Ok(())
    };
    let (reply, served) = join(bench.within("the first request", asked), serving).await;
    served?;
    reply??;
    Ok(())
}

fn text(datagram: &Datagram) -> String {
    String::from_utf8_lossy(datagram.payload().unwrap_or_default()).into_owned()
}

pub(crate) async fn a_request_gets_its_reply(bench: &Bench<'_>) -> Check {
    let mut line = bench.line().await?;
    needs!(line, Reply);
    let client = line.client.clone();
    for number in 0..5 {
        let asked = client.request(Datagram::new(format!("{number}")), bench.options.deadline());
        let serving = async {
            let request = next_request(&mut line).await?;
            let answer = Datagram::new(format!("{}!", text(request.datagram()))).with_tag(4);
            bench.within("the reply", request.reply(answer)).await??;
            Check::Ok(())
        };
        let (reply, served) = join(bench.within("the request", asked), serving).await;
        served?;
        let reply = reply??;
        ensure!(text(&reply) == format!("{number}!"), "the reply to {number} is {}", text(&reply));
        ensure!(reply.tag() == 4, "the reply lost its tag");
    }
    line.finish().await
}

pub(crate) async fn requests_at_once_get_their_own_replies(bench: &Bench<'_>) -> Check {
    let mut line = bench.line().await?;
    needs!(line, Reply);
    let client = line.client.clone();
    let asking = join_all((0..20).map(|number| {
        let client = &client;
        async move {
            let asked =
                client.request(Datagram::new(format!("{number}")), bench.options.deadline());
            let reply = bench.within("a request", asked).await??;
            let right = text(&reply) == format!("{number}!");
            ensure!(right, "the reply to {number} is {}", text(&reply));
            Check::Ok(())
        }
    }));
    let serving = async {
        let mut requests = Vec::new();
        for _ in 0..20 {
            requests.push(next_request(&mut line).await?);
        }
        for request in requests.into_iter().rev() {
            let answer = Datagram::new(format!("{}!", text(request.datagram())));
            bench.within("a reply", request.reply(answer)).await??;
        }
        Check::Ok(())
    };
    let (asked, served) = join(asking, serving).await;
    served?;
    asked.into_iter().collect::<Check<()>>()?;
    line.finish().await
}

pub(crate) async fn a_request_without_reply_ends_in_doubt(bench: &Bench<'_>) -> Check {
    let mut line = bench.line().await?;
    needs!(line, Reply);
    let client = line.client.clone();
    open(bench, &mut line, &client).await?;
    let asked = client.request(Datagram::new("?").with_key("k"), bench.options.moment());
    let (asked, served) = join(bench.within("the request", asked), next_request(&mut line)).await;
    let Err(error) = asked? else { return Err(Stop::failed("nobody replied, and yet it is Ok")) };
    let timed_out = matches!(error.error(), Error::TimedOut { .. });
    ensure!(timed_out && error.fate() == Fate::MaybeSent, "it ended as {error}");
    let given = Datagram::new("?").with_key("k");
    ensure!(*error.datagram() == given, "the request came back changed");
    served?.ack()?;
    line.finish().await
}

pub(crate) async fn a_late_reply_is_counted_and_goes_to_nobody(bench: &Bench<'_>) -> Check {
    let mut line = bench.line().await?;
    needs!(line, Reply);
    let client = line.client.clone();
    open(bench, &mut line, &client).await?;
    let asked = client.request(Datagram::new("early"), bench.options.moment());
    let (asked, served) = join(bench.within("the request", asked), next_request(&mut line)).await;
    ensure!(asked?.is_err(), "nobody replied, and yet it is Ok");
    let late = served?;
    let asked = client.request(Datagram::new("second"), bench.options.deadline());
    let serving = async {
        let second = next_request(&mut line).await?;
        bench.within("the late reply", late.reply(Datagram::new("too late"))).await??;
        bench.within("the reply", second.reply(Datagram::new("in time"))).await??;
        Check::Ok(())
    };
    let (reply, served) = join(bench.within("the request", asked), serving).await;
    served?;
    ensure!(text(&reply??) == "in time", "a request got the reply of another");
    let late = client.statistics().late_replies;
    ensure!(late == 1, "{late} late replies counted");
    line.finish().await
}

pub(crate) async fn a_dropped_request_disturbs_no_other(bench: &Bench<'_>) -> Check {
    let mut line = bench.line().await?;
    needs!(line, Reply);
    let client = line.client.clone();
    let dropped = poll_and_drop(client.request(Datagram::new("?"), bench.options.deadline()));
    ensure!(dropped.is_none(), "a request ended before anybody could reply");
    let asked = client.request(Datagram::new("kept"), bench.options.deadline());
    let serving = async {
        loop {
            let request = next_request(&mut line).await?;
            let asked = text(request.datagram());
            bench.within("a reply", request.reply(Datagram::new(asked.clone()))).await??;
            if asked == "kept" {
                return Check::Ok(());
            }
        }
    };
    let (reply, served) = join(bench.within("the request", asked), serving).await;
    served?;
    ensure!(text(&reply??) == "kept", "a request got the reply of another");
    line.finish().await
}

pub(crate) async fn a_request_sets_its_own_address(bench: &Bench<'_>) -> Check {
    let line = bench.line().await?;
    needs!(line, Reply);
    let mut request = Datagram::new("?");
    request.envelope_mut().correlation_id = Some("mine".into());
    let asked = line.client.request(request, bench.options.deadline());
    let Err(error) = bench.within("the refusal", asked).await? else {
        return Err(Stop::failed("a foreign correlation id was taken"));
    };
    let refused = matches!(error.error(), Error::Invalid { .. });
    ensure!(refused && error.fate() == Fate::NotSent, "refused as {error}");
    line.finish().await
}

pub(crate) async fn a_made_up_reply_address_is_refused(bench: &Bench<'_>) -> Check {
    let mut line = bench.line().await?;
    needs!(line, Reply, Envelope, Redelivery);
    for reply_to in ["/etc/passwd", "seam", "orders"] {
        let mut request = Datagram::new("?");
        request.envelope_mut().reply_to = Some(reply_to.into());
        let sender = line.sender.clone();
        let sent = bench.within("the send", sender.send(request));
        let serving = async {
            let request = next_request(&mut line).await?;
            let replied = bench.within("the refusal", request.reply(Datagram::new("!"))).await?;
            ensure!(matches!(replied, Err(Error::Denied { .. })), "it came to {replied:?}");
            // It was not acknowledged, so it comes again.
            next_request(&mut line).await?.ack()?;
            Check::Ok(())
        };
        let (sent, served) = join(sent, serving).await;
        served?;
        sent??;
    }
    line.finish().await
}

pub(crate) async fn what_is_no_request_cannot_be_replied_to(bench: &Bench<'_>) -> Check {
    let mut line = bench.line().await?;
    needs!(line, Reply, Redelivery);
    let stamps = line.post("k", 1).await?;
    let delivery = line.next().await?;
    let replied = bench.within("the refusal", delivery.reply(Datagram::new("!"))).await?;
    ensure!(matches!(replied, Err(Error::Invalid { .. })), "it came to {replied:?}");
    let delivery = line.again(&stamps[0]).await?;
    line.ack(delivery)?;
    line.finish().await
}

pub(crate) async fn the_request_of_a_requester_that_is_gone_is_done(bench: &Bench<'_>) -> Check {
    let mut line = bench.hub_line().await?;
    needs!(line, Reply);
    let requester = bench.client(&line.address, "").await?;
    open(bench, &mut line, &requester).await?;
    let asked = requester.request(Datagram::new("?"), bench.options.moment());
    let (asked, served) = join(bench.within("the request", asked), next_request(&mut line)).await;
    ensure!(asked?.is_err(), "nobody replied, and yet it is Ok");
    drop(requester);
    match bench.within("the reply", served?.reply(Datagram::new("!"))).await? {
        // Some brokers cannot tell.
        Ok(()) => {}
        Err(Error::RequesterGone) => {
            let counted = line.server.statistics().requesters_gone;
            ensure!(counted == 1, "{counted} counted");
        }
        Err(other) => return Err(Stop::failed(other)),
    }
    ensure!(line.server.statistics().acked == 2, "the request was not acknowledged");
    line.finish().await
}
