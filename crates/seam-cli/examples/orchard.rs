//! The `seam` command with a transport of one's own, and here with a whole program behind it.
//!
//! `memory://` ends at its process, so that this command alone can reach the orchard that lives in it:
//!
//! ```sh
//! cargo run -p seam-cli --example orchard -- receive memory://apples --count 3
//! cargo run -p seam-cli --example orchard -- request memory://sum '1 2 3'
//! seq 1000 | cargo run -p seam-cli --example orchard -- send memory://basket
//! ```

use std::process::ExitCode;

use seam_core::{Datagram, Deliveries, Memory, Registry, Result};

fn main() -> ExitCode {
    let registry = Registry::new().with(Memory::new());
    let orchard = registry.clone();
    // Ends with the process, as the command does.
    std::thread::spawn(move || {
        let runtime = tokio::runtime::Builder::new_current_thread().build();
        runtime.expect("a runtime without drivers needs nothing").block_on(live(&orchard))
    });
    seam_cli::run(registry)
}

/// Gives apples, adds up, and takes what is put into the basket.
async fn live(orchard: &Registry) -> Result<()> {
    tokio::try_join!(give(orchard), add_up(orchard), take(orchard)).map(drop)
}

/// Apples on one tree.
const APPLES: u32 = 200_000;

async fn give(orchard: &Registry) -> Result<()> {
    let mut tree = orchard.sender("memory://apples").await?;
    for number in 1..=APPLES {
        tree.feed(Datagram::new(format!("apple {number}"))).await?;
    }
    // What falls after the last basket is gone stays on the ground.
    drop(tree.flush().await);
    std::future::pending().await
}

async fn add_up(orchard: &Registry) -> Result<()> {
    let mut questions = orchard.receiver("memory://sum").await?;
    while let Some(question) = questions.next().await? {
        let text = String::from_utf8_lossy(question.payload().unwrap_or_default()).into_owned();
        let sum: i64 = text.split_whitespace().filter_map(|word| word.parse::<i64>().ok()).sum();
        question.reply(Datagram::new(sum.to_string())).await?;
    }
    Ok(())
}

async fn take(orchard: &Registry) -> Result<()> {
    let mut basket = orchard.receiver("memory://basket").await?;
    let mut apples = Deliveries::new();
    while basket.receive(256, &mut apples).await? {
        apples.ack_all();
    }
    Ok(())
}
