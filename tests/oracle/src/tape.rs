//! The bytes that decide what happens in a world.

pub(crate) struct Tape {
    bytes: Vec<u8>,
    next: usize,
}

impl Tape {
    pub(crate) fn new(bytes: &[u8]) -> Self {
        Self { bytes: bytes.to_vec(), next: 0 }
    }

    /// Returns a number below `bound`: 0, which is the simplest choice, once the bytes are used up.
    pub(crate) fn below(&mut self, bound: usize) -> usize {
        let byte = self.bytes.get(self.next).copied().unwrap_or(0);
        self.next += 1;
        usize::from(byte) % bound
    }

    pub(crate) fn is_used_up(&self) -> bool {
        self.next >= self.bytes.len()
    }
}
