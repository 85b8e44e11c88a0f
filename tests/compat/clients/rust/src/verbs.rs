//! What a test can tell the client to do. `as` names a connection.

use std::sync::{Arc, Mutex};

use async_trait::async_trait;
use iii_helpers::observability::Logger;
use iii_helpers::stream::{
    StreamDeleteInput, StreamDeleteResult, StreamGetInput, StreamListGroupsInput, StreamListInput,
    StreamSetInput, StreamSetResult, StreamUpdateInput, StreamUpdateResult,
};
use iii_sdk::helpers::{create_channel, create_stream};
use iii_sdk::{Error, IStream, RegisterFunction};
use serde_json::{json, Value};

use crate::connection::{text, Connection};
use crate::{sdk, transfer, Connections};

pub async fn run(connections: &Connections, verb: &str, words: Value) -> Result<Value, String> {
    let name = words["as"].as_str().unwrap_or("main").to_string();
    if verb == "connect" {
        let headers = serde_json::from_value(words["headers"].clone()).unwrap_or(None);
        let namespace = words["namespace"].as_str().map(str::to_string);
        let made = Connection::new(&text(&words, "name"), &text(&words, "url"), headers, namespace);
        connections.lock().await.insert(name, made);
        return Ok(Value::Null);
    }
    if verb == "disconnect" {
        let gone = connections.lock().await.remove(&name).ok_or("no such connection")?;
        gone.iii.shutdown_async().await;
        return Ok(Value::Null);
    }
    let connection = connections.lock().await.get(&name).cloned().ok_or("no such connection")?;
    on(&connection, verb, &words).await
}

async fn on(connection: &Arc<Connection>, verb: &str, words: &Value) -> Result<Value, String> {
    let function_id = text(words, "function_id");
    match verb {
        "call" => return Ok(connection.call(words).await),
        "call_big" => {
            let sent = text(words, "text").repeat(words["times"].as_u64().unwrap_or(0) as usize);
            let request = json!({
                "function_id": function_id, "payload": { "text": sent }, "timeout_ms": words["timeout_ms"],
            });
            let result = sdk::call(&connection.iii, &request).await.map_err(told)?;
            let got = result["data"]["text"].as_str().unwrap_or_default();
            return Ok(json!({ "length": got.chars().count(), "is_equal": got == sent }));
        }
        "serve" => connection.serve(words)?,
        "unserve" => {
            let function = connection.functions.lock().unwrap().remove(&function_id);
            function.ok_or("no such function")?.unregister();
        }
        "notes" => return Ok(connection.notes(&function_id)),
        "open" => connection.gate(&text(words, "gate")).notify_one(),
        "serve_by_http" => {
            let config = serde_json::from_value(words["invocation"].clone()).map_err(|error| error.to_string())?;
            let function = connection.iii.register_function(function_id.clone(), RegisterFunction::http(config));
            connection.functions.lock().unwrap().insert(function_id, function);
        }
        "bind" => {
            let binding = sdk::bind(&connection.iii, words).await.map_err(told)?;
            connection.triggers.lock().unwrap().insert(text(words, "handle"), binding);
        }
        "unbind" => {
            let binding = connection.triggers.lock().unwrap().remove(&text(words, "handle"));
            sdk::unbind(&connection.iii, binding.ok_or("no such trigger")?).await.map_err(told)?;
        }
        "provide" => {
            let bell = sdk::provide(&connection.iii, &text(words, "type"))?;
            connection.bells.lock().unwrap().insert(text(words, "type"), bell);
        }
        "withdraw" => sdk::withdraw(&connection.iii, &text(words, "type")),
        "bindings" => return Ok(bindings(connection, words)),
        "fire" => {
            for binding in bindings(connection, words).as_array().into_iter().flatten() {
                let request = json!({
                    "function_id": binding["function_id"], "payload": words["payload"], "void": true,
                });
                connection.call(&request).await;
            }
        }
        "channel_out" => {
            let channel = create_channel(&connection.iii, None).await.map_err(told)?;
            let request = json!({
                "function_id": words["to"],
                "payload": { "reader": channel.reader_ref },
                "timeout_ms": words["timeout_ms"],
            });
            let (consumed, written) =
                tokio::join!(sdk::call(&connection.iii, &request), transfer::write(&channel.writer, words));
            written.map_err(told)?;
            return consumed.map_err(told);
        }
        "channel_in" => {
            let channel = create_channel(&connection.iii, None).await.map_err(told)?;
            let mut payload = json!({ "writer": channel.writer_ref });
            for key in ["bytes", "texts"] {
                if !words[key].is_null() {
                    payload[key] = words[key].clone();
                }
            }
            let request = json!({
                "function_id": words["from"], "payload": payload, "timeout_ms": words["timeout_ms"],
            });
            let (produced, read) =
                tokio::join!(sdk::call(&connection.iii, &request), transfer::read(&channel.reader));
            produced.map_err(told)?;
            return read.map_err(told);
        }
        "keep_stream" => {
            let name = text(words, "name");
            let stream = KeptStream { connection: connection.clone(), name: name.clone(), items: Mutex::default() };
            create_stream(&connection.iii, name, stream);
        }
        "log" => Logger::new().warn(&text(words, "message"), Some(words["fields"].clone())),
        "observe" => return sdk::observe(&connection.iii, words).await,
        other => return Err(format!("no verb {other}")),
    }
    Ok(Value::Null)
}

fn bindings(connection: &Connection, words: &Value) -> Value {
    let bells = connection.bells.lock().unwrap();
    bells.get(&text(words, "type")).map(|bell| bell.bindings()).unwrap_or(json!([]))
}

fn told(error: Error) -> String {
    error.to_string()
}

/// A stream that is kept here, not by the engine. Its changes are noted under its name.
struct KeptStream {
    connection: Arc<Connection>,
    name: String,
    /// Group, item, value.
    items: Mutex<Vec<(String, String, Value)>>,
}

impl KeptStream {
    fn take(&self, group_id: &str, item_id: &str) -> Option<Value> {
        let mut items = self.items.lock().unwrap();
        let at = items.iter().position(|(group, item, _)| group == group_id && item == item_id)?;
        Some(items.remove(at).2)
    }
}

#[async_trait]
impl IStream for KeptStream {
    async fn get(&self, input: StreamGetInput) -> Result<Option<Value>, Error> {
        let items = self.items.lock().unwrap();
        let found = items.iter().find(|(group, item, _)| *group == input.group_id && *item == input.item_id);
        Ok(found.map(|(_, _, value)| value.clone()))
    }

    async fn set(&self, input: StreamSetInput) -> Result<Option<StreamSetResult>, Error> {
        self.connection.note(&self.name, json!({ "set": input.item_id }));
        let old = self.take(&input.group_id, &input.item_id);
        self.items.lock().unwrap().push((input.group_id, input.item_id, input.data.clone()));
        let result = json!({ "old_value": old, "new_value": input.data });
        Ok(Some(serde_json::from_value(result)?))
    }

    async fn delete(&self, input: StreamDeleteInput) -> Result<StreamDeleteResult, Error> {
        self.connection.note(&self.name, json!({ "delete": input.item_id }));
        let old = self.take(&input.group_id, &input.item_id);
        Ok(serde_json::from_value(json!({ "old_value": old }))?)
    }

    async fn list(&self, input: StreamListInput) -> Result<Vec<Value>, Error> {
        let items = self.items.lock().unwrap();
        Ok(items.iter().filter(|(group, _, _)| *group == input.group_id).map(|item| item.2.clone()).collect())
    }

    async fn list_groups(&self, _input: StreamListGroupsInput) -> Result<Vec<String>, Error> {
        let mut groups: Vec<String> = self.items.lock().unwrap().iter().map(|item| item.0.clone()).collect();
        groups.dedup();
        Ok(groups)
    }

    async fn update(&self, _input: StreamUpdateInput) -> Result<Option<StreamUpdateResult>, Error> {
        Ok(None)
    }
}
