//! Much data through channels, made and checked so that both ends can tell it without sharing it.

use std::sync::{Arc, Mutex};

use iii_sdk::channel::{ChannelReader, ChannelWriter};
use iii_sdk::Error;
use serde_json::{json, Value};
use sha2::{Digest, Sha256};

const BLOCK_BYTES: usize = 64 * 1024;

/// So many `bytes`, or these `texts`, and the end.
pub async fn write(writer: &ChannelWriter, words: &Value) -> Result<(), Error> {
    if let Some(total) = words["bytes"].as_u64() {
        let total = total as usize;
        let mut block: Vec<u8> = (0..BLOCK_BYTES).map(|at| at as u8).collect();
        for (index, sent) in (0..total).step_by(BLOCK_BYTES).enumerate() {
            block[..4].copy_from_slice(&(index as u32).to_be_bytes());
            writer.write(&block[..BLOCK_BYTES.min(total - sent)]).await?;
        }
    } else {
        let filler = "x".repeat(words["texts"]["filler"].as_u64().unwrap_or(0) as usize);
        for n in 0..words["texts"]["count"].as_u64().unwrap_or(0) {
            writer.send_message(&format!("{n} ü {filler}")).await?;
        }
    }
    writer.close().await
}

pub async fn read(reader: &ChannelReader) -> Result<Value, Error> {
    let texts = Arc::new(Mutex::new((0, 0, Sha256::new())));
    let seen = texts.clone();
    reader
        .on_message(move |text| {
            let mut seen = seen.lock().unwrap();
            seen.0 += 1;
            seen.1 += text.chars().count();
            seen.2.update(text.as_bytes());
        })
        .await;
    let (mut bytes, mut digest) = (0, Sha256::new());
    while let Some(chunk) = reader.next_binary().await? {
        bytes += chunk.len();
        digest.update(&chunk);
    }
    let texts = texts.lock().unwrap();
    Ok(json!({
        "bytes": bytes,
        "sha256": format!("{:x}", digest.finalize()),
        "texts": texts.0,
        "text_chars": texts.1,
        "text_sha256": format!("{:x}", texts.2.clone().finalize()),
    }))
}
