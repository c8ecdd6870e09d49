//! One direction of a connection: bytes that are written, on their way, and read in pieces.

use std::io::IoSlice;

use bytes::Bytes;
use seam_wire::{Header, Outgoing, header};

#[derive(Default)]
pub(crate) struct Pipe {
    pub(crate) out: Outgoing,
    on_the_way: Vec<u8>,
    input: Vec<u8>,
}

/// A frame with its header.
pub(crate) struct Raw {
    pub(crate) header: Header,
    pub(crate) bytes: Bytes,
}

impl Raw {
    pub(crate) fn body(&self) -> &[u8] {
        &self.bytes[Header::SIZE..]
    }
}

impl Pipe {
    /// Writes at most `count` bytes, as a socket would.
    pub(crate) fn write(&mut self, mut count: usize) {
        while count > 0 && self.out.pending() > 0 {
            let mut slices = [IoSlice::new(&[]); 3];
            let filled = self.out.slices(&mut slices);
            let mut taken = 0;
            for slice in &slices[..filled] {
                let part = slice.len().min(count - taken);
                self.on_the_way.extend_from_slice(&slice[..part]);
                taken += part;
            }
            self.out.advance(taken);
            count -= taken;
        }
    }

    /// Lets at most `count` bytes arrive, and gives the frames that are whole.
    pub(crate) fn read(&mut self, count: usize) -> Result<Vec<Raw>, String> {
        let count = count.min(self.on_the_way.len());
        self.input.extend(self.on_the_way.drain(..count));
        let mut frames = Vec::new();
        let mut at = 0;
        while let Some(header) =
            header(&self.input[at..], 5_000).map_err(|error| error.to_string())?
        {
            let end = at + Header::SIZE + header.body;
            let Some(bytes) = self.input.get(at..end) else { break };
            frames.push(Raw { header, bytes: Bytes::copy_from_slice(bytes) });
            at = end;
        }
        self.input.drain(..at);
        Ok(frames)
    }

    /// What is on its way after `count` bytes never arrives.
    pub(crate) fn lose_after(&mut self, count: usize) {
        self.on_the_way.truncate(count);
        self.out.clear();
    }
}
