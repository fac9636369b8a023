//! Image: what an NVDIMM holds, in memory and in files that have room only for where it is
//! anything but zeros.
//!
//! Most of an image is zeros, and a process that holds many of them pays for each page whenever it
//! starts a program.

use std::fs::File;
use std::io;
use std::os::unix::fs::FileExt;
use std::path::Path;

/// Bytes of a page.
pub const PAGE: usize = 4096;

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
        if is_used(from) {
            to[..from.len()].copy_from_slice(from);
        }
    }
}

/// Whether a page, or part of one, holds anything but zeros.
pub fn is_used(page: &[u8]) -> bool {
    // Compared at memory speed, which a loop over bytes is not.
    page != &ZEROS[..page.len()]
}

/// Writes an image as a file, anew, with holes where it is zero.
///
/// # Errors
/// The file cannot be written.
pub fn write(path: &Path, image: &[u8]) -> io::Result<()> {
    write_to(&File::create(path)?, image)
}

/// Writes an image into an empty file, with holes where it is zero.
///
/// # Errors
/// The file cannot be written.
pub fn write_to(file: &File, image: &[u8]) -> io::Result<()> {
    file.set_len(image.len() as u64)?;
    write_pages(file, image, 0, image.chunks(PAGE).map(is_used))
}

/// Writes those pages of an image of which it is said, one after the other from the `first` on,
/// that they are to be written.
///
/// # Errors
/// The file cannot be written.
pub fn write_pages(
    file: &File,
    image: &[u8],
    first: usize,
    chosen: impl IntoIterator<Item = bool>,
) -> io::Result<()> {
    let write = |start: usize, end: usize| {
        let (start, end) = (start * PAGE, (end * PAGE).min(image.len()));
        file.write_all_at(&image[start..end], start as u64)
    };
    let (mut run, mut page) = (None, first);
    for is_chosen in chosen {
        match (is_chosen, run) {
            (true, None) => run = Some(page),
            (false, Some(start)) => {
                write(start, page)?;
                run = None;
            }
            _ => {}
        }
        page += 1;
    }
    run.map_or(Ok(()), |start| write(start, page))
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::MetadataExt;

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

    #[test]
    fn a_file_has_holes_where_an_image_is_zero() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("image");
        let mut image = vec![0; 64 * PAGE + 64];
        for used in [&[][..], &[0], &[2 * PAGE], &[5 * PAGE, 6 * PAGE + 9], &[64 * PAGE + 63]] {
            image.fill(0);
            for at in used {
                image[*at] = 1;
            }
            // It may be there already, and be longer.
            std::fs::write(&path, vec![9; 70 * PAGE]).unwrap();
            write(&path, &image).unwrap();
            assert!(std::fs::read(&path).unwrap() == image);
            let blocks = std::fs::metadata(&path).unwrap().blocks();
            assert!(blocks <= used.len() as u64 * 8, "{used:?}: {blocks} blocks of 512 bytes");
        }
    }
}
