//! Remains: what this program's own library recovers from images of a pool. It runs on the host.
//!
//! Standard input begins with the length of the pool (8 bytes). Then come images: the number of
//! lines that are not as in the image before (4 bytes; at first all is 0), and each of them: where
//! it begins (8 bytes) and its 64 bytes. Numbers are little-endian. For each image a line says
//! what is held: `{"held":[[LENGTH,HASH],...]}`, `{"held":null}` if there is no pool, or
//! `{"corrupt":WHY}`.

use std::io::{BufReader, ErrorKind, Read, StdinLock};

use anyhow::Context;
use paste_net::{Error, Remains};
use serde_json::{Value, json};
use xxhash_rust::xxh3::xxh3_64;

use crate::tell::tell;

/// Bytes of a line.
const LINE: usize = 64;

type Input = BufReader<StdinLock<'static>>;

/// Recovers image after image.
pub(crate) fn recover() -> anyhow::Result<()> {
    let mut input = BufReader::new(std::io::stdin().lock());
    let mut pool = vec![0; place(&mut input)?];
    while let Some(lines) = lines(&mut input)? {
        for _ in 0..lines {
            let start = place(&mut input)?;
            let line = pool.get_mut(start..).and_then(|rest| rest.get_mut(..LINE));
            input.read_exact(line.context("a line of the pool")?).context("read a line")?;
        }
        tell(&held(&pool))?;
    }
    Ok(())
}

fn place(input: &mut Input) -> anyhow::Result<usize> {
    let mut bytes = [0; 8];
    input.read_exact(&mut bytes).context("read a place")?;
    usize::try_from(u64::from_le_bytes(bytes)).context("address a place")
}

/// How many lines the next image changes; none if there is no other image.
fn lines(input: &mut Input) -> anyhow::Result<Option<u32>> {
    let mut bytes = [0; 4];
    match input.read_exact(&mut bytes) {
        Err(error) if error.kind() == ErrorKind::UnexpectedEof => Ok(None),
        read => read.context("read a count").map(|()| Some(u32::from_le_bytes(bytes))),
    }
}

fn held(pool: &[u8]) -> Value {
    let remains = match Remains::read(pool) {
        Ok(remains) => remains,
        Err(Error::NoPool { .. }) => return json!({ "held": null }),
        Err(why) => return json!({ "corrupt": why.to_string() }),
    };
    let records = remains.records().map(|packets| {
        let bytes: Vec<u8> = packets.flatten().copied().collect();
        json!([bytes.len(), xxh3_64(&bytes)])
    });
    json!({ "held": records.collect::<Vec<_>>() })
}
