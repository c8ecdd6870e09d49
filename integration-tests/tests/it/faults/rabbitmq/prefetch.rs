//! E29: a great many messages wait, and a consumer whose connection is cut again and again is never given more than
//! its credit.

use std::time::Duration;

use integration_tests::relay::{Cut, Relay};
use integration_tests::{Figures, Scale, seed};
use seam::Batch;
use seam_conformance::ledger::Report;

use super::super::stage::{Stage, patience};
use super::broker::Broker;

const CREDIT: u64 = 50;
const RECONNECTS: usize = 10;
const MEMORY: u64 = 64 << 20;

#[tokio::test]
#[ignore = "needs a broker: integration-tests/brokers run rabbitmq -- cargo test -p integration-tests --features rabbitmq -- --include-ignored"]
async fn rabbit_prefetch() {
    let (stage, seed, broker) = (Stage::new().await, seed(), Broker::own().await);
    let messages = Scale::of_environment().pick(50_000, 1_000_000);
    fill(&broker, messages).await;
    let relay = Relay::start(broker.address(), seed).await.unwrap();
    let uri = format!("rabbitmq://seam:seam@{}/load-e29?credit={CREDIT}", relay.address());

    broker.control(&["eval", WATCH]).await;
    let mut consumer = stage.consumer(&uri, "ben");
    consumer.work = Duration::from_millis(20);
    let player = stage.consume(consumer).await;
    for reconnects in 1..=RECONNECTS {
        let goal = player.heard().at + 10 * CREDIT;
        player.until(patience(), |heard| heard.at >= goal).await;
        relay.cut(Cut::Reset);
        player.until(patience(), |heard| heard.connected.len() > reconnects).await;
    }
    let goal = player.heard().at + 10 * CREDIT;
    player.until(patience(), |heard| heard.at >= goal).await;
    let seen = broker.control(&["eval", STOP]).await;
    let finished = player.stop().await;
    let left = broker.foreign.ready("load-e29").await;

    let mut seen =
        seen.split(|letter: char| !letter.is_ascii_digit()).filter(|part| !part.is_empty());
    let mut next = || seen.next().unwrap().parse::<u64>().unwrap();
    let (of_channel, of_queue, looks) = (next(), next(), next());
    Figures::new("E29 rabbit_prefetch", seed, Report::default())
        .with_rss(finished.rss())
        .with("ready", messages)
        .with("reconnects", finished.heard.disconnected.len())
        .with("settled", finished.summary.messages)
        .with("left", left)
        .with("looks", looks)
        .with("most_unacked_of_channel", of_channel)
        .with("of_queue", of_queue)
        .print();
    seam::registry().remove(broker.uri("load-e29").as_str()).await.unwrap();
    assert!(looks > 100, "it was looked often: {looks}");
    assert_eq!((of_channel, of_queue), (CREDIT, CREDIT), "it is used, and never more");
    assert!(finished.rss() <= MEMORY, "{}", finished.rss());
    let gone = messages - left;
    let twice = finished.summary.messages.saturating_sub(gone);
    assert!(finished.summary.messages >= gone, "{gone} are gone, {:?}", finished.summary);
    assert!(twice <= CREDIT * u64::try_from(RECONNECTS).unwrap(), "{twice} more than once");
}

async fn fill(broker: &Broker, messages: u64) {
    let uri = broker.uri("load-e29?credit_bytes=16MiB");
    let client = seam::registry().client(uri.as_str()).await.unwrap();
    let sender = client.sender().await.unwrap();
    let mut batch = Batch::new();
    for number in 1..=messages {
        batch.push_bytes(0, &[7; 256]);
        if batch.len() == 2_000 || number == messages {
            let mut ticket = sender.admit(&mut batch).await.unwrap();
            assert!(ticket.receipts().await.all_ok());
        }
    }
    assert!(client.drain(patience()).await.unwrap().is_clean());
}

/// Has the node look at itself, without end: how much is unacknowledged of any channel, and of the queue.
const WATCH: &str = r#"
{ok, Queue} = rabbit_amqqueue:lookup(rabbit_misc:r(<<"/">>, queue, <<"load-e29">>)),
Server = amqqueue:get_pid(Queue),
register(seam_watch, erlang:spawn(fun () -> (fun Look(Channel, All, Looks) ->
    Infos = rabbit_channel:info_all([messages_unacknowledged]),
    Channels = [Count || [{messages_unacknowledged, Count}] <- Infos],
    {ok, {_, Held}, _} = ra:local_query(Server, fun rabbit_fifo:query_messages_checked_out/1),
    Most = {lists:max([Channel | Channels]), max(All, Held)},
    receive {stop, From} -> From ! {seen, element(1, Most), element(2, Most), Looks + 1}
    after 2 -> Look(element(1, Most), element(2, Most), Looks + 1)
    end
end)(0, 0, 0) end)).
"#;

/// Ends that; the most that was seen of either, and how often it was looked.
const STOP: &str = "seam_watch ! {stop, self()}, receive {seen, Channel, All, Looks} -> {Channel, All, Looks} after 5000 -> none end.";
