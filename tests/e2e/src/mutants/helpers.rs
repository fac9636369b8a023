//! Helpers: what is added to the copy of the sources, for mistakes to be made with.

use super::{CPU, Edit, REGION, edit};

/// The module that knows which program this is.
pub(crate) const SWITCH: &str = "//! Mutant: which mistake this program makes.
use std::sync::atomic::{AtomicU32, Ordering::Relaxed};
static NUMBER: AtomicU32 = AtomicU32::new(0);
/// Takes the number from the environment.
pub fn choose() {
    let number = std::env::var(\"MUTANT\").ok().and_then(|text| text.parse().ok());
    NUMBER.store(number.expect(\"a number in MUTANT\"), Relaxed);
}
/// The number.
pub fn number() -> u32 {
    NUMBER.load(Relaxed)
}
";

/// Its file.
pub(crate) const SWITCH_FILE: &str = "paste/src/mutant.rs";

/// Texts that are there once, and what takes their place in every program.
pub(crate) const HELPERS: &[Edit] = &[
    edit("paste/src/lib.rs", "pub mod marker;\n", "pub mod marker;\npub mod mutant;\n"),
    edit(
        "tests/e2e/guest/src/main.rs",
        "fn main() -> anyhow::Result<()> {\n",
        "fn main() -> anyhow::Result<()> {\n    paste_net::mutant::choose();\n",
    ),
    // A way past the types: proof without a fence.
    edit(
        REGION,
        "    /// Waits until they are durable: one fence for the batch.\n",
        "    pub(crate) fn undrained(self) -> Durable<'a> {
        Durable { region: self.region }
    }

    /// Waits until they are durable: one fence for the batch.\n",
    ),
    // Stores past the caches, and a store of two words at once.
    edit(
        REGION,
        "    /// Begins stores that shall become durable together.\n",
        "    pub(crate) fn past_the_caches(&self, at: usize, bytes: &[u8]) -> Flushed<'_> {
        for (word, chunk) in bytes.chunks_exact(8).enumerate() {
            let value = u64::from_ne_bytes(chunk.try_into().expect(\"eight bytes\"));
            cpu::store_past_the_caches(self.words.mapping(), at + word * 8, value);
        }
        Flushed { region: self }
    }

    pub(crate) fn publish_pair(&self, at: usize, bytes: &[u8]) -> Result<Durable<'_>> {
        cpu::store_pair(self.words.mapping(), at, bytes.try_into().expect(\"16 bytes\"));
        let mut batch = self.batch();
        batch.cover(at..at + 16);
        batch.flush().drain()
    }

    /// Begins stores that shall become durable together.\n",
    ),
    edit(
        CPU,
        "/// Waits until the lines flushed before have reached the persistence domain (ADR).\n",
        "pub(crate) fn store_past_the_caches(mapping: &Mapping, at: usize, value: u64) {
    let address = mapping.address(at);
    unsafe { std::arch::asm!(\"movnti [{}], {}\", in(reg) address, in(reg) value) };
}

pub(crate) fn store_pair(mapping: &Mapping, at: usize, pair: &[u8; 16]) {
    let (from, to) = (pair.as_ptr(), mapping.address(at));
    unsafe {
        std::arch::asm!(
            \"movdqu {x}, [{from}]\", \"movdqu [{to}], {x}\",
            x = out(xmm_reg) _, from = in(reg) from, to = in(reg) to,
        );
    }
}

/// Waits until the lines flushed before have reached the persistence domain (ADR).\n",
    ),
];
