//! Certificates to test with.

use std::path::PathBuf;
use std::sync::LazyLock;
use std::time::{Duration, SystemTime};

use seam_certificates::issue::{Authority, Issued, Purpose, Wish, write_new};
use tempfile::TempDir;

pub(crate) const HOUR: Duration = Duration::from_secs(3600);

/// A folder of certificates.
pub(crate) struct Folder(TempDir);

impl Folder {
    /// Empty.
    pub(crate) fn new() -> Self {
        Self(TempDir::new().unwrap())
    }

    pub(crate) fn path(&self, name: &str) -> PathBuf {
        self.0.path().join(name)
    }

    /// Writes a file that only its owner reads.
    pub(crate) fn write(&self, name: &str, text: &str) -> PathBuf {
        let path = self.path(name);
        std::fs::write(&path, text).unwrap();
        #[cfg(unix)]
        std::fs::set_permissions(&path, std::os::unix::fs::PermissionsExt::from_mode(0o600))
            .unwrap();
        path
    }

    /// Writes a certificate and its key as `NAME.pem` and `NAME.key`.
    pub(crate) fn write_issued(&self, name: &str, issued: &Issued) {
        self.write(&format!("{name}.pem"), &issued.certificate);
        self.write(&format!("{name}.key"), &issued.key);
    }

    /// `cert=` and `key=` of what was written so.
    pub(crate) fn own(&self, name: &str) -> String {
        let of = |kind: &str| self.path(&format!("{name}.{kind}"));
        format!("cert={}&key={}", of("pem").display(), of("key").display())
    }
}

/// One authority with a listener at loopback and a client, as `seam certs new` makes them.
pub(crate) fn shared() -> &'static Folder {
    static SHARED: LazyLock<Folder> = LazyLock::new(|| {
        let folder = Folder::new();
        let hosts = ["localhost", "127.0.0.1", "::1"].map(str::to_owned);
        write_new(folder.0.path(), &hosts, "till-7", HOUR).unwrap();
        folder
    });
    &SHARED
}

/// What a listener says: its own, and whose clients it lets in.
pub(crate) fn listens() -> String {
    let folder = shared();
    format!("{}&client_ca={}", folder.own("server"), folder.path("ca.pem").display())
}

/// What whoever dials says: its own, and whom it trusts.
pub(crate) fn dials() -> String {
    let folder = shared();
    format!("{}&ca={}", folder.own("client"), folder.path("ca.pem").display())
}

/// A certificate for loopback, changed as `change` says.
pub(crate) fn issue(
    authority: &Authority,
    purpose: Purpose,
    change: impl FnOnce(&mut Wish),
) -> Issued {
    let names = ["localhost", "127.0.0.1"].map(str::to_owned).to_vec();
    let mut wish = Wish::new(purpose, names, HOUR);
    change(&mut wish);
    authority.issue(&wish).unwrap()
}

/// A list of the authority that is good now.
pub(crate) fn revoke(authority: &Authority, serials: &[u64]) -> String {
    let now = SystemTime::now();
    authority.revoke(serials, now - HOUR, now + HOUR).unwrap()
}
