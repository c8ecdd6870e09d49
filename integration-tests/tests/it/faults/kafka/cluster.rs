//! A real cluster that is killed, frozen and brought back.

use super::super::own::{Own, Place};

/// Everything of this process, until its end.
static ALL: Place = Place::const_new(None);

/// The cluster, for as long as this test has it.
pub(crate) struct Cluster(Own);

impl Cluster {
    /// The cluster, with its first broker up and the others down.
    ///
    /// # Panics
    ///
    /// Where the tests were not started by `integration-tests/brokers`, or the broker does not come up.
    pub(crate) async fn own() -> Self {
        let own = Own::of(&ALL, "kafka").await;
        own.command(&["down", "kafka2", "kafka3"]).await;
        Self(own)
    }

    /// Where its first broker listens.
    pub(crate) fn url(&self) -> &str {
        self.0.variable("SEAM_TEST_KAFKA_URL")
    }

    /// Where it listens for users, of whom there is `seam` with the password `seam`.
    pub(crate) fn sasl_url(&self) -> &str {
        self.0.variable("SEAM_TEST_KAFKA_SASL_URL")
    }

    /// Starts the other two; where all three listen.
    pub(crate) async fn three(&self) -> String {
        self.0.command(&["up", "kafka2", "kafka3"]).await;
        let variables = self.0.command(&["env"]).await;
        let of = |name: &str| {
            let begin = format!("export {name}=");
            let line = variables.lines().find_map(|line| line.strip_prefix(&begin));
            line.unwrap_or_else(|| panic!("no {name}: {variables}")).to_owned()
        };
        ["SEAM_TEST_KAFKA_URL", "SEAM_TEST_KAFKA2_URL", "SEAM_TEST_KAFKA3_URL"].map(of).join(",")
    }

    /// Ends `broker` by SIGKILL.
    pub(crate) async fn kill(&self, broker: &str) {
        self.0.command(&["kill", broker]).await;
    }

    /// Brings back `broker`, which was killed, and waits until it is ready.
    pub(crate) async fn up(&self, broker: &str) {
        self.0.command(&["up", broker]).await;
    }

    /// Stops `broker` where it stands: it accepts connections and answers nothing.
    pub(crate) async fn freeze(&self, broker: &str) {
        self.0.command(&["pause", broker]).await;
    }

    pub(crate) async fn thaw(&self, broker: &str) {
        self.0.command(&["resume", broker]).await;
    }

    /// Stops `broker` gracefully and starts it again.
    pub(crate) async fn restart(&self, broker: &str) {
        self.0.command(&["restart", broker]).await;
    }
}
