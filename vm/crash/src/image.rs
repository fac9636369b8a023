//! Image: copies of what an NVDIMM holds that take memory only where there is anything.
//!
//! Most of an image is zeros, and a process that holds many of them pays for each page whenever it
//! starts a program.

/// Bytes of a page.
const PAGE: usize = 4096;

const ZEROS: [u8; PAGE] = [0; PAGE];

/// A copy.
pub fn copy(image: &[u8]) -> Vec<u8> {
    let mut copy = vec![0; image.len()];
    fill(&mut copy, image);
    copy
}

/// Puts bytes where zeros are, and leaves the pages alone that stay zeros.
pub fn fill(zeros: &mut [u8], bytes: &[u8]) {
    for (to, from) in zeros.chunks_mut(PAGE).zip(bytes.chunks(PAGE)) {
        if *from != ZEROS[..from.len()] {
            to[..from.len()].copy_from_slice(from);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_copy_holds_the_same() {
        for len in [0, 64, PAGE, 5 * PAGE + 64] {
            let mut image = vec![0; len];
            assert_eq!(copy(&image), image);
            if let Some(last) = image.last_mut() {
                *last = 1;
            }
            assert_eq!(copy(&image), image);
            image.fill(7);
            assert_eq!(copy(&image), image);
        }
    }
}
