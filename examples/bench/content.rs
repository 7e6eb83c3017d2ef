//! The bytes of layers: valid gzip of noise, so that nobody can make them smaller and nobody compresses them anew.

use std::io::{self, Read, Write as _};

use flate2::Compression;
use flate2::write::GzEncoder;
use rand::rngs::StdRng;
use rand::{RngCore as _, SeedableRng as _};

const PIECE: usize = 64 << 10;

/// A layer of about `size` bytes, made piece by piece as it is read. Equal seeds and sizes give equal bytes.
pub struct Layer {
    noise: StdRng,
    /// Noise still to be wrapped.
    left: usize,
    /// Gone once the end of the gzip stream is written.
    gzip: Option<GzEncoder<Vec<u8>>>,
    ready: io::Cursor<Vec<u8>>,
}

impl Layer {
    pub fn new(seed: u64, size: usize) -> Self {
        Self {
            noise: StdRng::seed_from_u64(seed),
            left: size,
            gzip: Some(GzEncoder::new(Vec::new(), Compression::none())),
            ready: io::Cursor::default(),
        }
    }
}

impl Read for Layer {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        loop {
            let read = self.ready.read(buffer)?;
            if read > 0 || buffer.is_empty() {
                return Ok(read);
            }
            let Some(gzip) = &mut self.gzip else { return Ok(0) };
            let mut piece = vec![0; self.left.min(PIECE)];
            self.left -= piece.len();
            self.noise.fill_bytes(&mut piece);
            gzip.write_all(&piece)?;
            let mut wrapped = std::mem::take(gzip.get_mut());
            if self.left == 0
                && let Some(gzip) = self.gzip.take()
            {
                wrapped.append(&mut gzip.finish()?);
            }
            self.ready = io::Cursor::new(wrapped);
        }
    }
}
