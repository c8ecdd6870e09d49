//! A real cluster that is killed, frozen and brought back: one for all tests of a process, one test at a time.

use std::collections::BTreeMap;
use std::env;
use std::io::{BufRead, BufReader};
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{self, Child, Stdio};

use tokio::process::Command;
use tokio::sync::{Mutex, MutexGuard};

/// Everything of this process, until its end.
static ALL: Mutex<Option<Started>> = Mutex::const_new(None);

/// The cluster, for as long as this test has it.
pub(crate) struct Cluster(MutexGuard<'static, Option<Started>>);

struct Started {
    brokers: PathBuf,
    folder: PathBuf,
    url: String,
    sasl_url: String,
    /// Takes the brokers down once its standard input ends, as it does however this process ends.
    _guard: Child,
}

/// Starts a broker, tells its variables, and waits for the end of standard input; then nothing is left of it.
const GUARD: &str = r#"
"$0" run kafka -- sh -c 'env; exec cat >&2'
rm -rf "$SEAM_BROKERS_DIR"
"#;

impl Cluster {
    /// The cluster, with its first broker up and the others down.
    ///
    /// # Panics
    ///
    /// Where the tests were not started by `integration-tests/brokers`, or the broker does not come up.
    pub(crate) async fn own() -> Self {
        let mut all = ALL.lock().await;
        if all.is_none() {
            *all = Some(Started::new());
        }
        let cluster = Self(all);
        // As a test before may have left it that failed.
        cluster.command(&["up", "kafka"]).await;
        cluster.command(&["down", "kafka2", "kafka3"]).await;
        cluster
    }

    /// Where its first broker listens.
    pub(crate) fn url(&self) -> &str {
        &self.started().url
    }

    /// Where it listens for users, of whom there is `seam` with the password `seam`.
    pub(crate) fn sasl_url(&self) -> &str {
        &self.started().sasl_url
    }

    /// Starts the other two; where all three listen.
    pub(crate) async fn three(&self) -> String {
        self.command(&["up", "kafka2", "kafka3"]).await;
        let variables = self.command(&["env"]).await;
        let of = |name: &str| {
            let begin = format!("export {name}=");
            let line = variables.lines().find_map(|line| line.strip_prefix(&begin));
            line.unwrap_or_else(|| panic!("no {name}: {variables}")).to_owned()
        };
        ["SEAM_TEST_KAFKA_URL", "SEAM_TEST_KAFKA2_URL", "SEAM_TEST_KAFKA3_URL"].map(of).join(",")
    }

    /// Ends `broker` by SIGKILL.
    pub(crate) async fn kill(&self, broker: &str) {
        self.command(&["kill", broker]).await;
    }

    /// Brings back `broker`, which was killed, and waits until it is ready.
    pub(crate) async fn up(&self, broker: &str) {
        self.command(&["up", broker]).await;
    }

    /// Stops `broker` where it stands: it accepts connections and answers nothing.
    pub(crate) async fn freeze(&self, broker: &str) {
        self.command(&["pause", broker]).await;
    }

    pub(crate) async fn thaw(&self, broker: &str) {
        self.command(&["resume", broker]).await;
    }

    /// Stops `broker` gracefully and starts it again.
    pub(crate) async fn restart(&self, broker: &str) {
        self.command(&["restart", broker]).await;
    }

    fn started(&self) -> &Started {
        self.0.as_ref().expect("it was started when it was taken")
    }

    async fn command(&self, arguments: &[&str]) -> String {
        let Started { brokers, folder, .. } = self.started();
        let mut command = Command::from(command(brokers, folder));
        let output = command.args(arguments).output().await.unwrap();
        let complaints = String::from_utf8_lossy(&output.stderr);
        assert!(output.status.success(), "brokers {arguments:?}: {complaints}");
        String::from_utf8(output.stdout).unwrap()
    }
}

impl Started {
    fn new() -> Self {
        let brokers = env::var_os("SEAM_TEST_BROKERS").map(PathBuf::from).expect(
            "SEAM_TEST_BROKERS is not set: start cargo by `integration-tests/brokers run kafka --`",
        );
        let folder = format!("brokers-{}", process::id());
        let folder = Path::new(env!("CARGO_TARGET_TMPDIR")).join(folder);
        let mut guard = command(Path::new("sh"), &folder);
        guard.args(["-c", GUARD]).arg(&brokers);
        // Ctrl-C is for us; the guard learns that we are gone.
        guard.process_group(0).stdin(Stdio::piped()).stdout(Stdio::piped());
        let mut guard = guard.spawn().unwrap();
        let lines = BufReader::new(guard.stdout.take().expect("it is piped")).lines();
        let mut urls = BTreeMap::new();
        for line in lines.map_while(Result::ok) {
            urls.extend(
                URLS.iter().filter_map(|name| Some((*name, line.strip_prefix(name)?.to_owned()))),
            );
            if urls.len() == URLS.len() {
                break;
            }
        }
        let [url, sasl_url] = URLS.map(|name| urls.remove(name));
        match (url, sasl_url) {
            (Some(url), Some(sasl_url)) => Self { brokers, folder, url, sasl_url, _guard: guard },
            _ => panic!("no broker came up: {:?}", guard.wait()),
        }
    }
}

/// What is wanted of the variables.
const URLS: [&str; 2] = ["SEAM_TEST_KAFKA_URL=", "SEAM_TEST_KAFKA_SASL_URL="];

/// `program` on the brokers of `folder`, which share what the others have downloaded.
fn command(program: &Path, folder: &Path) -> process::Command {
    let mut command = process::Command::new(program);
    command.env("SEAM_BROKERS_DIR", folder).env_remove("SEAM_BROKERS_PORT_BASE");
    command
}
