//! Certificates to test with.

use std::path::PathBuf;
use std::sync::LazyLock;
use std::time::Duration;

use seam_certificates::issue::write_new;
use tempfile::TempDir;

/// A file of one authority with a listener at loopback and a client, as `seam certs new` makes them.
fn path(name: &str) -> PathBuf {
    static FOLDER: LazyLock<TempDir> = LazyLock::new(|| {
        let folder = TempDir::new().unwrap();
        let hosts = ["localhost", "127.0.0.1", "::1"].map(str::to_owned);
        write_new(folder.path(), &hosts, "till-7", Duration::from_secs(3600)).unwrap();
        folder
    });
    FOLDER.path().join(name)
}

/// What a listener says: its own, and whose clients it lets in.
pub(crate) fn listens() -> String {
    let [cert, key, ca] =
        ["server.pem", "server.key", "ca.pem"].map(|name| path(name).display().to_string());
    format!("cert={cert}&key={key}&client_ca={ca}")
}

/// What whoever dials says: its own, and whom it trusts.
pub(crate) fn dials() -> String {
    let [cert, key, ca] =
        ["client.pem", "client.key", "ca.pem"].map(|name| path(name).display().to_string());
    format!("cert={cert}&key={key}&ca={ca}")
}
