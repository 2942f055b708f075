//! Members of gzip one after the other, with zeros between and behind them, as tapes and some tools pad them.

use flate2::bufread::GzDecoder;
use std::io::{self, BufRead, Read};

/// Reads all members of a file.
pub(super) struct Members<R> {
    state: State<R>,
}

enum State<R> {
    Inside(GzDecoder<R>),
    Ended,
}

impl<R: BufRead> Members<R> {
    /// From the first byte of the first member on.
    pub fn new(inner: R) -> Self {
        Self { state: State::Inside(GzDecoder::new(inner)) }
    }
}

impl<R: BufRead> Read for Members<R> {
    fn read(&mut self, out: &mut [u8]) -> io::Result<usize> {
        loop {
            let State::Inside(member) = &mut self.state else { return Ok(0) };
            let read = member.read(out)?;
            if read > 0 || out.is_empty() {
                return Ok(read);
            }
            let State::Inside(member) = std::mem::replace(&mut self.state, State::Ended) else {
                return Ok(0);
            };
            let mut inner = member.into_inner();
            if skip_zeros(&mut inner)? {
                self.state = State::Inside(GzDecoder::new(inner));
            }
        }
    }
}

/// Whether anything follows the zeros.
fn skip_zeros(inner: &mut impl BufRead) -> io::Result<bool> {
    loop {
        let available = match inner.fill_buf() {
            Ok(available) => available,
            Err(e) if e.kind() == io::ErrorKind::Interrupted => continue,
            Err(e) => return Err(e),
        };
        if available.is_empty() {
            return Ok(false);
        }
        let zeros = available.iter().take_while(|byte| **byte == 0).count();
        let more = zeros < available.len();
        inner.consume(zeros);
        if more {
            return Ok(true);
        }
    }
}
