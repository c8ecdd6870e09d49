//! Proofs that an end knows a secret, without sending it.

use std::fmt;

use hmac::{Hmac, KeyInit, Mac};
use sha2::Sha256;

use crate::{Hello, Prove, WireError};

/// Which end of a connection.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Role {
    /// The end that dialled; it speaks first.
    Dialler,
    /// The end that listened.
    Acceptor,
}

/// The proof that an end of the connection knows the shared token.
///
/// HMAC-SHA256 with the token over `dialler` or `acceptor`, the body of the dialler's OPEN, the body of the
/// acceptor's, and the exporter of the TLS connection where there is one.
#[derive(Clone, Copy)]
pub struct Proof<'a> {
    /// The shared token.
    pub token: &'a [u8],
    /// The body of the dialler's OPEN, as it was written.
    pub dialler: &'a [u8],
    /// The body of the acceptor's OPEN, as it was written.
    pub acceptor: &'a [u8],
    /// The exporter of the TLS connection; empty where there is none.
    pub exporter: &'a [u8],
}

impl Proof<'_> {
    /// The frame with which `role` proves itself.
    #[must_use]
    pub fn prove(&self, role: Role) -> Prove {
        Prove { proof: self.mac(role).finalize().into_bytes().into() }
    }

    /// Checks the proof of `role`, in constant time.
    ///
    /// # Errors
    ///
    /// [`WireError::Unproven`].
    pub fn verify(&self, role: Role, prove: &Prove) -> Result<(), WireError> {
        self.mac(role).verify_slice(&prove.proof).map_err(|_| WireError::Unproven)
    }

    fn mac(&self, role: Role) -> Hmac<Sha256> {
        let name: &[u8] = match role {
            Role::Dialler => b"dialler",
            Role::Acceptor => b"acceptor",
        };
        keyed(self.token)
            .chain_update(name)
            .chain_update(self.dialler)
            .chain_update(self.acceptor)
            .chain_update(self.exporter)
    }
}

impl fmt::Debug for Proof<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Proof(***)")
    }
}

/// The secret with which a session is resumed.
#[derive(Clone, PartialEq, Eq)]
pub struct ResumeToken([u8; 32]);

impl ResumeToken {
    /// One that the receiving end made of random bytes and issues in the first WELCOME. Only inside TLS or on a
    /// Unix socket: whoever reads it can take the session.
    #[must_use]
    pub fn issued(random: [u8; 32]) -> Self {
        Self(random)
    }

    /// One that both ends derive, so that it never travels: HMAC-SHA256 with the shared token over `sid`.
    #[must_use]
    pub fn derived(token: &[u8], sid: &[u8; 16]) -> Self {
        Self(keyed(token).chain_update(sid).finalize().into_bytes().into())
    }

    /// The bytes, to write them into a WELCOME.
    #[must_use]
    pub fn expose(&self) -> &[u8; 32] {
        &self.0
    }
}

impl fmt::Debug for ResumeToken {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("***")
    }
}

/// The proof that whoever resumes a session is who began it.
///
/// HMAC-SHA256 with the resume token over what is unique to the connection, `sid`, `attempt` in eight bytes,
/// big-endian, and `owner`.
#[derive(Clone, Copy)]
pub struct ResumeProof<'a> {
    /// The session's secret.
    pub token: &'a ResumeToken,
    /// The exporter of the TLS connection; without TLS the nonce of the dialler's OPEN, then the acceptor's.
    pub connection: &'a [u8],
}

impl ResumeProof<'_> {
    /// Puts the proof into `hello`.
    pub fn sign(&self, hello: &mut Hello) {
        hello.proof = Some(self.mac(hello).finalize().into_bytes().into());
    }

    /// Whether `hello` bears the right proof; in constant time.
    #[must_use]
    pub fn verify(&self, hello: &Hello) -> bool {
        // The same work whether there is a proof or not.
        let proof = hello.proof.unwrap_or_default();
        self.mac(hello).verify_slice(&proof).is_ok() && hello.proof.is_some()
    }

    fn mac(&self, hello: &Hello) -> Hmac<Sha256> {
        keyed(&self.token.0)
            .chain_update(self.connection)
            .chain_update(hello.sid)
            .chain_update(hello.attempt.to_be_bytes())
            .chain_update(hello.owner)
    }
}

impl fmt::Debug for ResumeProof<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("ResumeProof(***)")
    }
}

fn keyed(key: &[u8]) -> Hmac<Sha256> {
    Hmac::new_from_slice(key).expect("HMAC takes a key of any length")
}
