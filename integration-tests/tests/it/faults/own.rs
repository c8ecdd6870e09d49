//! Brokers of the tests' own, to be killed, frozen and brought back: of each kind one set for all tests of a
//! process, which one test has at a time.

use std::collections::BTreeMap;
use std::env;
use std::io::{BufRead, BufReader};
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{self, Child, Stdio};

use tokio::process::Command;
use tokio::sync::{Mutex, MutexGuard};

/// Where a set is kept from one test to the next, until the end of the process.
pub(crate) type Place = Mutex<Option<Started>>;

/// A set of brokers, for as long as this test has it.
pub(crate) struct Own(MutexGuard<'static, Option<Started>>);

pub(crate) struct Started {
    brokers: PathBuf,
    folder: PathBuf,
    /// What `SEAM_TEST_...` variables say of it.
    variables: BTreeMap<String, String>,
    /// Takes the brokers down once its standard input ends, as it does however this process ends.
    _guard: Child,
}

/// Starts a broker, tells its variables, and waits for the end of standard input; then nothing is left of it.
const GUARD: &str = r#"
"$0" run "$1" -- sh -c 'env; echo; exec cat >&2'
rm -rf "$SEAM_BROKERS_DIR"
"#;

impl Own {
    /// The brokers of `place`; the one called `name` is up, as a test before may not have left it that failed.
    ///
    /// # Panics
    ///
    /// Where the tests were not started by `integration-tests/brokers`, or the broker does not come up.
    pub(crate) async fn of(place: &'static Place, name: &str) -> Self {
        let mut all = place.lock().await;
        if all.is_none() {
            *all = Some(Started::new(name));
        }
        let own = Self(all);
        own.command(&["up", name]).await;
        own
    }

    /// What a variable said of them when they were started.
    pub(crate) fn variable(&self, name: &str) -> &str {
        let found = self.started().variables.get(name);
        found.unwrap_or_else(|| panic!("no {name} is told"))
    }

    /// What `brokers` says to `arguments`.
    ///
    /// # Panics
    ///
    /// Where it fails.
    pub(crate) async fn command(&self, arguments: &[&str]) -> String {
        let Started { brokers, folder, .. } = self.started();
        let mut command = Command::from(command(brokers, folder));
        let output = command.args(arguments).output().await.unwrap();
        let complaints = String::from_utf8_lossy(&output.stderr);
        assert!(output.status.success(), "brokers {arguments:?}: {complaints}");
        String::from_utf8(output.stdout).unwrap()
    }

    fn started(&self) -> &Started {
        self.0.as_ref().expect("it was started when it was taken")
    }
}

impl Started {
    fn new(name: &str) -> Self {
        let brokers = env::var_os("SEAM_TEST_BROKERS").map(PathBuf::from).unwrap_or_else(|| {
            panic!("SEAM_TEST_BROKERS is not set: start cargo by `integration-tests/brokers run {name} --`")
        });
        let folder = format!("brokers-{name}-{}", process::id());
        let folder = Path::new(env!("CARGO_TARGET_TMPDIR")).join(folder);
        let mut guard = command(Path::new("sh"), &folder);
        guard.args(["-c", GUARD]).arg(&brokers).arg(name);
        // Ctrl-C is for us; the guard learns that we are gone.
        guard.process_group(0).stdin(Stdio::piped()).stdout(Stdio::piped());
        let mut guard = guard.spawn().unwrap();
        let lines = BufReader::new(guard.stdout.take().expect("it is piped")).lines();
        let (mut variables, mut is_up) = (BTreeMap::new(), false);
        for line in lines.map_while(Result::ok) {
            is_up = line.is_empty();
            if is_up {
                break;
            }
            if let Some((name, value)) = line.split_once('=')
                && name.starts_with("SEAM_TEST_")
            {
                variables.insert(name.to_owned(), value.to_owned());
            }
        }
        assert!(is_up, "no broker came up: {:?}", guard.wait());
        Self { brokers, folder, variables, _guard: guard }
    }
}

/// `program` on the brokers of `folder`, which share what the others have downloaded.
fn command(program: &Path, folder: &Path) -> process::Command {
    let mut command = process::Command::new(program);
    command.env("SEAM_BROKERS_DIR", folder).env_remove("SEAM_BROKERS_PORT_BASE");
    command
}
