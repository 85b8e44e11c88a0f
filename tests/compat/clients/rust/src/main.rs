//! A worker on the crate `iii-sdk`, told what to do on standard input:
//!
//!     driver NAME URL
//!
//! A line `{"id":1,"do":"call","with":{...}}` is answered by `{"id":1,"value":...}` or
//! `{"id":1,"error":{"message"}}`. Other output is the SDK's own and means nothing. Ends with its standard
//! input. `../../node` and `../../python` say the same things with their SDKs.

// Streams are deprecated in 0.26, and are part of what is tried.
#![allow(deprecated)]

mod behaviours;
mod connection;
#[cfg_attr(feature = "sdk-0-22", path = "sdk_0_22.rs")]
#[cfg_attr(feature = "sdk-0-26", path = "sdk_0_26.rs")]
mod sdk;
mod transfer;
mod verbs;

use std::{collections::HashMap, sync::Arc};

use serde_json::{json, Value};
use tokio::io::{AsyncBufReadExt, BufReader};
use tokio::sync::Mutex;

use connection::Connection;

/// Connections by the name that a test has given them.
pub type Connections = Arc<Mutex<HashMap<String, Arc<Connection>>>>;

#[tokio::main]
async fn main() {
    let words: Vec<String> = std::env::args().collect();
    let connections: Connections = Arc::default();
    let first = Connection::new(&words[1], &words[2], None, None);
    connections.lock().await.insert("main".into(), first);

    let mut lines = BufReader::new(tokio::io::stdin()).lines();
    while let Ok(Some(text)) = lines.next_line().await {
        tokio::spawn(answer(connections.clone(), text));
    }
    std::process::exit(0);
}

async fn answer(connections: Connections, text: String) {
    let line: Value = serde_json::from_str(&text).expect("a line of JSON");
    let verb = line["do"].as_str().unwrap_or_default();
    let told = match verbs::run(&connections, verb, line["with"].clone()).await {
        Ok(value) => format!("\"value\":{value}"),
        Err(message) => format!("\"error\":{}", json!({ "message": message })),
    };
    // The id comes first: that is how the reader knows a line.
    println!("\n{{\"id\":{},{told}}}", line["id"]);
}
