//! Handlers that a test can ask for by name.

use std::sync::Arc;

use iii_sdk::channel::{ChannelReader, ChannelWriter, StreamChannelRef};
use iii_sdk::Error;
use serde_json::{json, Value};

use crate::connection::{text, Connection};
use crate::transfer;

pub async fn run(
    connection: &Arc<Connection>,
    function_id: &str,
    behaviour: &str,
    options: &Value,
    data: Value,
    metadata: Option<Value>,
) -> Result<Value, Error> {
    let name = &connection.name;
    match behaviour {
        "echo" => Ok(json!({ "from": name, "data": without_caller(data) })),
        "answer" => Ok(options["value"].clone()),
        "fail" => Err(Error::Handler(format!("no luck in {name}"))),
        "note" => {
            connection.note(function_id, json!({ "data": data, "metadata": metadata }));
            Ok(Value::Null)
        }
        "stumble" => {
            let calls = connection.note(function_id, json!({ "data": without_caller(data) }));
            if calls as u64 <= options["times"].as_u64().unwrap_or(0) {
                return Err(Error::Handler(format!("stumbled {calls}")));
            }
            Ok(Value::Null)
        }
        "relay" => Ok(connection.call(&data).await),
        "wait" => {
            connection.note(function_id, json!({ "data": without_caller(data) }));
            connection.gate(function_id).notified().await;
            Ok(json!({ "waited": name }))
        }
        "consume" => transfer::read(&reader(connection, &data["reader"])?).await,
        "produce" => {
            transfer::write(&writer(connection, &data["writer"])?, &data).await?;
            Ok(Value::Null)
        }
        "page" => Ok(json!({
            "status_code": 201,
            "headers": { "X-Client": name },
            "body": {
                "word": data["path_params"]["word"],
                "query": data["query_params"],
                "method": data["method"],
                "sent": data["body"],
            },
        })),
        "upload" => {
            let read = transfer::read(&reader(connection, &data["request_body"])?).await?;
            let body = json!({
                "type": data["headers"]["content-type"],
                "parsed": data["body"],
                "bytes": read["bytes"],
                "sha256": read["sha256"],
            });
            Ok(json!({ "status_code": 200, "body": body }))
        }
        "download" => {
            let response = writer(connection, &data["response"])?;
            head(&response, 206, json!({ "content-type": "application/octet-stream", "x-part": "all of it" })).await?;
            transfer::write(&response, options).await?;
            Ok(Value::Null)
        }
        "events" => {
            let response = writer(connection, &data["response"])?;
            head(&response, 200, json!({ "content-type": "text/event-stream", "cache-control": "no-cache" })).await?;
            for n in 0..options["count"].as_u64().unwrap_or(0) {
                if n > 0 {
                    connection.gate(function_id).notified().await;
                }
                response.write(format!("id: {n}\ndata: {{\"n\":{n}}}\n\n").as_bytes()).await?;
            }
            response.close().await?;
            Ok(Value::Null)
        }
        "guard" => Ok(if data["request"]["headers"]["x-pass"] == "yes" {
            json!({ "action": "continue" })
        } else {
            json!({ "action": "respond", "response": { "status_code": 403, "body": { "phase": data["phase"] } } })
        }),
        "doorkeeper" => {
            connection.note(function_id, json!({ "data": data }));
            if data["headers"]["x-key"] != "open" {
                return Err(Error::Handler("no key".into()));
            }
            Ok(options["result"].clone())
        }
        "steward" => {
            connection.note(function_id, json!({ "data": data }));
            let words = json!({ "function_id": data["function_id"], "payload": data["payload"] });
            let ended = connection.call(&words).await;
            if !ended["error"].is_null() {
                return Err(Error::Handler(text(&ended["error"], "message")));
            }
            Ok(json!({ "by_way_of": "steward", "result": ended["result"] }))
        }
        "registrar" => {
            connection.note(function_id, json!({ "data": data }));
            if data.to_string().contains("forbidden-thing") {
                return Err(Error::Handler("not that".into()));
            }
            Ok(json!({}))
        }
        other => Err(Error::Handler(format!("no behaviour {other}"))),
    }
}

async fn head(response: &ChannelWriter, status: u16, headers: Value) -> Result<(), Error> {
    response.send_message(&json!({ "type": "set_status", "status_code": status }).to_string()).await?;
    response.send_message(&json!({ "type": "set_headers", "headers": headers }).to_string()).await
}

fn reader(connection: &Connection, reference: &Value) -> Result<ChannelReader, Error> {
    let reference: StreamChannelRef = serde_json::from_value(reference.clone())?;
    Ok(ChannelReader::new(connection.iii.address(), &reference))
}

fn writer(connection: &Connection, reference: &Value) -> Result<ChannelWriter, Error> {
    let reference: StreamChannelRef = serde_json::from_value(reference.clone())?;
    Ok(ChannelWriter::new(connection.iii.address(), &reference))
}

fn without_caller(mut data: Value) -> Value {
    if let Some(object) = data.as_object_mut() {
        object.remove("_caller_worker_id");
    }
    data
}
