//! Certificates to test with.

use std::path::PathBuf;
use std::sync::LazyLock;
use std::time::{Duration, SystemTime};

use seam_certificates::issue::{Authority, Purpose, Wish, write_new};
use tempfile::TempDir;

/// A file of one authority with a listener at loopback and a client, as `seam certs new` makes them.
pub(crate) fn path(name: &str) -> PathBuf {
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

/// Ends that are not let in, and those that meet them.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Other {
    /// A dialler that trusts another authority.
    Listener,
    /// One that shows nothing.
    Nobody,
    /// One whose certificate is of another authority.
    Client,
    /// A listener whose certificate has expired, and its dialler.
    Expired,
    ClientOfExpired,
    /// A listener that knows its client to be revoked, and that one.
    Revoked,
    ClientOfRevoked,
}

/// What such an end says.
pub(crate) fn other(other: Other) -> String {
    static PLACE: LazyLock<Place> = LazyLock::new(Place::new);
    PLACE.says(other)
}

/// Another authority, and what it signed.
struct Place(TempDir);

impl Place {
    fn new() -> Self {
        let place = Self(TempDir::new().unwrap());
        let hour = Duration::from_secs(3600);
        let authority = Authority::new("another", hour).unwrap();
        place.write("ca.pem", &authority.pem());
        let now = SystemTime::now();
        for (name, purpose, since, until) in [
            ("client", Purpose::Client, now - hour, now + hour),
            ("server", Purpose::Server, now - hour, now + hour),
            ("expired", Purpose::Server, now - 2 * hour, now - hour),
        ] {
            let mut wish = Wish::new(purpose, vec!["localhost".to_owned()], hour);
            (wish.not_before, wish.not_after, wish.serial) = (since, until, Some(7));
            let issued = authority.issue(&wish).unwrap();
            place.write(&format!("{name}.pem"), &issued.certificate);
            place.write(&format!("{name}.key"), &issued.key);
        }
        place.write("crl.pem", &authority.revoke(&[7], now - hour, now + hour).unwrap());
        place
    }

    fn write(&self, name: &str, text: &str) {
        let path = self.0.path().join(name);
        std::fs::write(&path, text).unwrap();
        #[cfg(unix)]
        std::fs::set_permissions(&path, std::os::unix::fs::PermissionsExt::from_mode(0o600))
            .unwrap();
    }

    fn says(&self, other: Other) -> String {
        let of = |name: &str| self.0.path().join(name).display().to_string();
        let own = |name: &str| {
            format!("cert={}&key={}", of(&format!("{name}.pem")), of(&format!("{name}.key")))
        };
        let trusted = path("ca.pem").display().to_string();
        match other {
            Other::Nobody => format!("ca={trusted}"),
            Other::Client => format!("{}&ca={trusted}", own("client")),
            Other::Expired => format!("{}&client_ca={}", own("expired"), of("ca.pem")),
            Other::Revoked => {
                format!("{}&client_ca={}&crl={}", own("server"), of("ca.pem"), of("crl.pem"))
            }
            Other::Listener | Other::ClientOfExpired | Other::ClientOfRevoked => {
                format!("{}&ca={}", own("client"), of("ca.pem"))
            }
        }
    }
}
