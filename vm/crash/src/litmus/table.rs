//! Litmus tests, the table: allowed and forbidden outcomes with their sources.

use super::Row;

/// Raad, Wickerson, Neis, Vafeiadis: Persistency semantics of the Intel-x86 architecture, POPL
/// 2020; Khyzha, Lahav: Taming x86-TSO persistency, POPL 2021.
const PX86: &str = "Px86";
/// Intel's manual, volume 2: SFENCE orders what its own processor did.
const SDM_SFENCE: &str = "SDM, SFENCE";
/// CLWB is ordered after older stores of its processor to the line.
const SDM_CLWB: &str = "SDM, CLWB";
/// CLFLUSH is ordered with writes; CLFLUSHOPT to another line is not ordered with it.
const SDM_CLFLUSH: &str = "SDM, CLFLUSH and CLFLUSHOPT";
/// WBINVD writes back all modified lines.
const SDM_WBINVD: &str = "SDM, WBINVD";
/// MOVNTI, and volume 1 on write combining: weakly ordered, coherent for each location.
const SDM_NT: &str = "SDM, MOVNTI";
/// The manuals leave it open; the harsher choice (M5).
const HARSH: &str = "M5";
/// 8 bytes are the unit that power loss leaves whole (SNIA's NVM programming model; M2).
const WORDS: &str = "SNIA, 8-byte atomicity";
/// What `strict` is for (M10).
const STRICT: &str = "M10";
/// Data direct I/O: device writes land in the last-level cache (M6).
const DDIO: &str = "Intel DDIO";
/// Caches are in the persistence domain, write-combining buffers are not (M13).
const EADR: &str = "Intel eADR";

const fn row(
    source: &'static str,
    rules: &'static str,
    program: &'static str,
    allowed: &'static [&'static str],
    forbidden: &'static [&'static str],
) -> Row {
    Row { source, rules, program, allowed, forbidden }
}

/// The table.
pub const TABLE: [Row; 59] = [
    row(PX86, "", "x=1; y=1", &["x=0 y=0", "x=1 y=0", "x=0 y=1", "x=1 y=1"], &["x=2"]),
    row(PX86, "", "x=1; x2=1", &["x=1 x2=0", "x=1 x2=1"], &["x=0 x2=1"]),
    row(PX86, "", "x=1; x2=1; x=2", &["x=1 x2=1", "x=2 x2=1"], &["x=2 x2=0"]),
    row(PX86, "", "x=1; clflush x; y=1", &["x=0 y=0", "x=1 y=0"], &["x=0 y=1"]),
    row(PX86, "", "x=1; opt x; y=1", &["x=0 y=1"], &[]),
    row(PX86, "", "x=1; opt x; sfence; y=1", &["x=1 y=1"], &["x=0 y=1"]),
    row(PX86, "", "x=1; clwb x; y=1", &["x=0 y=1"], &[]),
    row(PX86, "", "x=1; clwb x; sfence; y=1", &["x=1 y=0"], &["x=0 y=1"]),
    row(PX86, "", "x=1; clwb x; mfence; y=1", &[], &["x=0 y=1"]),
    row(PX86, "", "x=1; clwb x; lock; y=1", &[], &["x=0 y=1"]),
    row(PX86, "", "x=1; lock; y=1", &["x=0 y=1"], &[]),
    row(PX86, "", "x=1; sfence; y=1", &["x=0 y=1"], &[]),
    row(PX86, "", "clwb x; x=1; sfence; y=1", &["x=0 y=1"], &[]),
    row(PX86, "", "x=1; clwb x; x=2; sfence; y=1", &["x=1 y=1", "x=2 y=1"], &["x=0 y=1"]),
    row(PX86, "", "x=1; x2=1; clwb x2; sfence; y=1", &["x=1 x2=1 y=1"], &["x=0 y=1", "x2=0 y=1"]),
    row(PX86, "", "x=1; clwb y; sfence; y=1", &["x=0 y=1"], &[]),
    row(
        PX86,
        "",
        "x=1; y=1; clwb x; clwb y; sfence; z=1",
        &["x=1 y=0", "x=0 y=1"],
        &["x=0 z=1", "y=0 z=1"],
    ),
    row(PX86, "", "x=1; y=1; clwb x; sfence; z=1", &["x=1 y=0 z=1"], &["x=0 z=1"]),
    row(SDM_CLFLUSH, "", "x=1; opt x; clflush y; y=1", &["x=0 y=1"], &[]),
    row(SDM_CLFLUSH, "", "x=1; clflush x; x=2; y=1", &["x=1 y=1", "x=2 y=1"], &["x=0 y=1"]),
    row(SDM_WBINVD, "", "x=1; y=1; wbinvd; z=1", &["x=1 y=0 z=0"], &["x=0 z=1", "y=0 z=1"]),
    row(SDM_NT, "", "nt x=1; y=1", &["x=0 y=1", "x=1 y=0"], &[]),
    row(SDM_NT, "", "nt x=1; sfence; y=1", &["x=1 y=1"], &["x=0 y=1"]),
    row(SDM_NT, "", "nt x=1; nt x2=1", &["x=0 x2=1", "x=1 x2=0"], &[]),
    row(SDM_NT, "", "nt x=1; nt x=2; sfence; y=1", &["x=1 y=0"], &["x=0 y=1", "x=1 y=1"]),
    row(SDM_NT, "", "nt x=1; lock; y=1", &[], &["x=0 y=1"]),
    row(SDM_NT, "", "nt x=1; x=2; sfence; y=1", &["x=1 y=1", "x=2 y=1"], &["x=0 y=1"]),
    row(HARSH, "", "x=1; nt x2=1", &["x=0 x2=1", "x=1 x2=0"], &[]),
    row(SDM_CLWB, "", "nt x=1; clflush x; y=1", &[], &["x=0 y=1"]),
    row(WORDS, "", "wide x=1", &["x=1 x2=0", "x=1 x2=1"], &["x=0 x2=1"]),
    row(WORDS, "", "x=257", &["x=0", "x=257"], &["x=1", "x=256"]),
    row(SDM_SFENCE, "", "x=1; clwb x; 1:sfence; 1:y=1", &["x=0 y=1"], &[]),
    row(SDM_SFENCE, "", "x=1; clwb x; 1:lock; 1:y=1", &["x=0 y=1"], &[]),
    row(SDM_SFENCE, "", "x=1; clwb x; 1:sfence; sfence; z=1", &["x=1 z=1"], &["x=0 z=1"]),
    row(PX86, "", "x=1; 1:clwb x; 1:sfence; 1:y=1", &["x=1 y=1"], &["x=0 y=1"]),
    row(PX86, "", "x=1; 1:clflush x; 1:y=1", &[], &["x=0 y=1"]),
    row(PX86, "", "x=1; 1:x2=1", &["x=1 x2=0"], &["x=0 x2=1"]),
    row(PX86, "", "x=1; 1:y=1", &["x=0 y=1", "x=1 y=0"], &[]),
    row(
        PX86,
        "",
        "x=1; clwb x; 1:x=2; 1:clwb x; 1:sfence; sfence; z=1",
        &["x=2 z=1"],
        &["x=1 z=1", "x=0 z=1"],
    ),
    row(PX86, "", "x=1; clwb x; 1:x=2; sfence; z=1", &["x=1 z=1", "x=2 z=1"], &["x=0 z=1"]),
    row(SDM_NT, "", "nt x=1; 1:clwb x; 1:sfence; 1:y=1", &["x=0 y=1"], &[]),
    row(SDM_NT, "", "nt x=1; 1:sfence; 1:y=1", &["x=0 y=1"], &[]),
    row(STRICT, "", "x=1; clwb x; k:lock; y=1", &["x=0 y=1"], &[]),
    row(STRICT, "", "nt x=1; k:sfence; y=1", &["x=0 y=1"], &[]),
    row(STRICT, "", "x=1; clwb x; k:lock; sfence; y=1", &[], &["x=0 y=1"]),
    row(STRICT, "", "x=1; k:clwb x; k:sfence; y=1", &[], &["x=0 y=1"]),
    row(SDM_SFENCE, "hw", "x=1; clwb x; k:lock; y=1", &[], &["x=0 y=1"]),
    row(SDM_NT, "hw", "nt x=1; k:sfence; y=1", &[], &["x=0 y=1"]),
    row(SDM_SFENCE, "hw", "x=1; clwb x; 1:sfence; 1:y=1", &["x=0 y=1"], &[]),
    row(DDIO, "", "dma x=1; y=1", &["x=0 y=1"], &[]),
    row(DDIO, "", "dma x=1; sfence; y=1", &["x=0 y=1"], &[]),
    row(DDIO, "", "dma x=1; clwb x; sfence; y=1", &[], &["x=0 y=1"]),
    row(DDIO, "", "x=1; dma x2=1", &["x=1 x2=0"], &["x=0 x2=1"]),
    row(DDIO, "persist", "dma x=1; y=1", &["x=1 y=0"], &["x=0 y=1"]),
    row(DDIO, "persist", "x=1; dma x2=1; y=1", &["x=1 x2=0"], &["x=0 y=1"]),
    row(EADR, "eadr", "x=1; y=1", &["x=1 y=0"], &["x=0 y=1"]),
    row(EADR, "eadr", "nt x=1; y=1", &["x=0 y=1"], &[]),
    row(EADR, "eadr", "nt x=1; sfence; y=1", &[], &["x=0 y=1"]),
    row(EADR, "eadr", "dma x=1; y=1", &[], &["x=0 y=1"]),
];
