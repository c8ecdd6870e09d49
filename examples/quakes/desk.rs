//! The desks: one receives alerts, one what was parked.

use std::sync::Arc;

use seam::{Connection, Delivery, Receiver, Value, View};
use tokio::task::JoinHandle;

use crate::Failure;
use crate::places::Places;
use crate::tally::{Figures, Tally};

/// The desks at work.
pub(crate) struct Desks {
    connections: Vec<Connection>,
    running: Vec<JoinHandle<seam::Result<()>>>,
}

pub(crate) async fn open(places: &Places, tally: &Arc<Tally>) -> Result<Desks, Failure> {
    let alerts = places.registry.server(&places.alerts).await?;
    let parked = places.registry.server(&places.parked).await?;
    let running = vec![
        tokio::spawn(receive(alerts.receiver().await?, tally.clone(), |figures, alert| {
            figures.alerts.extend(text(alert.view(), "quake"));
        })),
        tokio::spawn(receive(parked.receiver().await?, tally.clone(), |figures, letter| {
            figures.parked.extend(text(letter.view(), "ledger"));
        })),
    ];
    Ok(Desks { connections: vec![alerts, parked], running })
}

impl Desks {
    pub(crate) async fn finish(self) -> Result<(), Failure> {
        for connection in &self.connections {
            // Nothing was sent from here, and what is not settled was counted as missing.
            drop(connection.drain(crate::DRAIN).await?);
        }
        for desk in self.running {
            let ended = desk.await;
            ended.map_err(|error| Failure::File(format!("a desk failed: {error}")))??;
        }
        Ok(())
    }
}

async fn receive(
    mut receiver: Receiver,
    tally: Arc<Tally>,
    note: impl Fn(&mut Figures, &Delivery),
) -> seam::Result<()> {
    while let Some(delivery) = receiver.next().await? {
        tally.note(|figures| note(figures, &delivery));
        delivery.ack()?;
    }
    Ok(())
}

fn text(view: View<'_>, header: &str) -> Option<String> {
    view.header(header).and_then(Value::as_text).map(str::to_owned)
}
