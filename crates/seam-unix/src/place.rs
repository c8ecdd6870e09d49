//! A path that one process listens at: taken from nobody who lives, and given up at the end.
//!
//! Whoever listens holds the lock of a file beside the socket; the operating system lets go of it however the process ends.
//! So with the lock in hand a socket that is still there was left by somebody who is gone, unless it belongs to a program
//! that knows nothing of the lock: one that answers is left alone.

use std::fs::{self, File, TryLockError};
use std::io::{self, ErrorKind};
use std::os::unix::fs::{FileTypeExt, MetadataExt, PermissionsExt};
use std::path::{Path, PathBuf};

use rustix::fs::{Mode, fchmod};
use seam_core::{Endpoint, Error, Result};
use socket2::{Domain, SockAddr, Socket, Type};

/// A socket that listens, and the files that go with it.
pub(crate) struct Place {
    path: PathBuf,
    /// Which file it is, so that nobody else's is removed.
    inode: u64,
    lock: Lock,
}

impl Place {
    /// Listens at `path` with a file of this mode.
    ///
    /// # Errors
    ///
    /// Why nobody can listen there.
    pub(crate) fn take(endpoint: &Endpoint, path: &Path, mode: u32) -> Result<(Self, Socket)> {
        let address = address(path)?;
        let failed = |error: io::Error| cannot_listen(endpoint, path, &error);
        let lock = Lock::take(path).map_err(failed)?;
        let lock = lock.ok_or_else(|| in_use(path))?;
        clear(endpoint, path, &address)?;
        let listening = || {
            let socket = Socket::new(Domain::UNIX, Type::STREAM, None)?;
            // Before there is a file that others could open; what the umask takes away is given back after.
            fchmod(&socket, Mode::from_raw_mode(mode))?;
            socket.bind(&address)?;
            fs::set_permissions(path, fs::Permissions::from_mode(mode))?;
            socket.listen(BACKLOG)?;
            socket.set_nonblocking(true)?;
            Ok((fs::metadata(path)?.ino(), socket))
        };
        let (inode, socket) = listening().map_err(failed)?;
        Ok((Self { path: path.to_owned(), inode, lock }, socket))
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        let is_ours = fs::metadata(&self.path).is_ok_and(|found| found.ino() == self.inode);
        // What cannot be removed is taken for what it is by whoever listens next.
        if is_ours {
            drop(fs::remove_file(&self.path));
        }
        drop(fs::remove_file(&self.lock.path));
    }
}

/// Where to connect, as the operating system has it.
///
/// # Errors
///
/// [`Error::InvalidEndpoint`] where the path is too long for a socket.
pub(crate) fn address(path: &Path) -> Result<SockAddr> {
    SockAddr::unix(path).map_err(|_| {
        let length = path.as_os_str().len();
        Error::invalid_endpoint(format!(
            "the path has {length} bytes, more than a socket may have (107 on Linux); choose a shorter one"
        ))
    })
}

/// How many connections may wait to be accepted.
const BACKLOG: i32 = 1024;

/// A file that is locked.
struct Lock {
    path: PathBuf,
    _file: File,
}

impl Lock {
    /// `None` where somebody has it.
    fn take(socket: &Path) -> io::Result<Option<Self>> {
        let mut path = socket.to_owned().into_os_string();
        path.push(".lock");
        let path = PathBuf::from(path);
        loop {
            let file = File::options().create(true).truncate(false).write(true).open(&path)?;
            match file.try_lock() {
                Ok(()) => {}
                Err(TryLockError::WouldBlock) => return Ok(None),
                Err(TryLockError::Error(error)) => return Err(error),
            }
            // Whoever had it has removed the file with it; then it is locked for nothing.
            let is_there = fs::metadata(&path).is_ok_and(|found| {
                file.metadata()
                    .is_ok_and(|ours| (ours.dev(), ours.ino()) == (found.dev(), found.ino()))
            });
            if is_there {
                return Ok(Some(Self { path, _file: file }));
            }
        }
    }
}

/// Removes what somebody has left who is gone.
fn clear(endpoint: &Endpoint, path: &Path, address: &SockAddr) -> Result<()> {
    let failed = |error: io::Error| cannot_listen(endpoint, path, &error);
    let found = match fs::symlink_metadata(path) {
        Ok(found) => found,
        Err(error) if error.kind() == ErrorKind::NotFound => return Ok(()),
        Err(error) => return Err(failed(error)),
    };
    if !found.file_type().is_socket() {
        return Err(Error::invalid_endpoint(format!(
            "{} is there and is no socket; choose another path",
            path.display()
        )));
    }
    let asking = || {
        let socket = Socket::new(Domain::UNIX, Type::STREAM, None)?;
        // One that is too busy to answer lives.
        socket.set_nonblocking(true)?;
        socket.connect(address)
    };
    match asking() {
        Err(error) if error.kind() == ErrorKind::ConnectionRefused => {
            fs::remove_file(path).map_err(failed)
        }
        Err(error) if error.kind() == ErrorKind::NotFound => Ok(()),
        Err(error) if error.kind() == ErrorKind::PermissionDenied => Err(failed(error)),
        _ => Err(in_use(path)),
    }
}

fn in_use(path: &Path) -> Error {
    Error::invalid_endpoint(format!(
        "{} is in use by another program; stop that one, or choose another path",
        path.display()
    ))
}

fn cannot_listen(endpoint: &Endpoint, path: &Path, error: &io::Error) -> Error {
    let path = path.display();
    match error.kind() {
        ErrorKind::NotFound | ErrorKind::NotADirectory => Error::NotFound {
            what: format!("the directory of {path}"),
            remedy: "create it, or choose another path".to_owned(),
        },
        ErrorKind::PermissionDenied => Error::Denied {
            endpoint: endpoint.to_string(),
            reason: format!(
                "this program may not listen at {path}; look at the rights of its directory"
            ),
        },
        _ => Error::disconnected(
            endpoint.to_string(),
            io::Error::new(error.kind(), error.to_string()),
        ),
    }
}
